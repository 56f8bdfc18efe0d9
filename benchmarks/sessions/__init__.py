"""Comparisons of separate sessions, real and simulated: ``python -m benchmarks.sessions``."""
