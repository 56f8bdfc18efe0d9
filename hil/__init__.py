"""pytest-hil: may this neural network be deployed on that NVIDIA Jetson?

Importing this package is almost free on purpose: pytest imports it in every run, hil or not.
"""

__version__ = "0.1.0"
