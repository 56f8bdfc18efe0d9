"""Parity that names the cause: ``python -m benchmarks.parity``; what is measured stands in ``__main__.py``."""
