"""Dapr → claim → child process → ledger. One attempt at a time; this room never imports torch."""
