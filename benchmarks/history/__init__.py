"""Benchmark of a history with the runs of several years, and of damaged or interrupted databases."""
