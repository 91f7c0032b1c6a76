"""Preference rows: validate them, pack them, unpack them."""
