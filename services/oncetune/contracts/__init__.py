"""The words that cross a process border. This room imports nothing of ours and never imports torch."""
