"""Workers that run in a container, and container images that contain a release."""
