"""Measured claims: one command each, a table, and the figure with its bar on the last line."""
