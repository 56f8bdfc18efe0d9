"""This repository's own settings; nothing here reaches who installs the package."""

pytest_plugins = ["pytester"]  # pytest accepts this in the topmost conftest.py only
