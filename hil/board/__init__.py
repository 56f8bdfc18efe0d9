"""Installs and removes the board's root helper, a small program with a fixed set of commands."""
