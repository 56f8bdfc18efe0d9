"""Loads that run during a measurement, and the conditions that a session sets."""
