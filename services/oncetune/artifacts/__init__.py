"""Where results live: a folder. Each attempt has a place of its own, and only `finish_run` makes one visible."""
