"""Finds where a failure starts: the nodes at fault, the likely cause, and a bundle that replays the failure."""
