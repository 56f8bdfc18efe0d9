"""Releases of a robot: put together, switched to, taken back."""
