"""Intentionally empty: in an editable install, everyone who runs the stock suites loads this conftest."""
