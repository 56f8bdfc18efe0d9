"""Measure series of timed inferences, repeat them in fresh processes, and store them."""
