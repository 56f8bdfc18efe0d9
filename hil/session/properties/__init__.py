"""Draw valid batches with Hypothesis, and search for one with which an engine violates a property."""
