"""Parity that names the cause: ``python -m benchmarks.parity``; ``__main__.py`` describes what is measured."""
