"""Engines of a session: built, loaded, lent to checks."""
