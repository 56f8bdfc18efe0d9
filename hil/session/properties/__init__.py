"""Draw valid batches with Hypothesis, and search for a batch with which an engine violates a property."""
