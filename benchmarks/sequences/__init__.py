"""Sequences: faults planted in recurrent models, sound variants of them, and the cost of a step."""
