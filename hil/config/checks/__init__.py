"""Checks for values of a config that are valid on their own but impossible or contradictory."""
