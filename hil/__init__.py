"""pytest-hil: decides whether a neural network may be deployed on an NVIDIA Jetson.

Importing this package is cheap, because pytest imports it in every run, with or without hil tests.
"""

__version__ = "0.1.0"
