"""Batches drawn by Hypothesis, and the search for one for which an engine violates a property."""
