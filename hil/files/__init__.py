"""Digests of files, seals for caches, and strict JSON."""
