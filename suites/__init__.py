"""The stock suites: run them with ``pytest --pyargs hil.suites``."""
