"""Workers inside a container, and images that hold a release."""
