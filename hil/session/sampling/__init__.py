"""Series of timed inferences: taken, repeated, stored."""
