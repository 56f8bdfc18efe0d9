"""pytest-hil: decides whether a neural network may be deployed on an NVIDIA Jetson."""

__version__ = "0.1.0"
