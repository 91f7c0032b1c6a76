"""Breaks the running system in every way that its promises name, and judges the result from outside."""
