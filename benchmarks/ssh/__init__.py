"""Benchmark of the cost of a network between host and board, with a real sshd: ``python -m benchmarks.ssh``."""
