"""Releases of a robot: staging, activation and rollback."""
