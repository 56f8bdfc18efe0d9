"""Benchmark of the HTML report of a fleet in headless Chromium."""
