"""Series of timed inferences: measured, repeated, stored."""
