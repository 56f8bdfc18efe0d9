"""Handwritten digits: a convolutional classifier."""
