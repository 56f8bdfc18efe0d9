"""Loads that run beside a measurement, and the conditions that a session sets."""
