"""Scenes of handwritten digits: a convolutional detector."""
