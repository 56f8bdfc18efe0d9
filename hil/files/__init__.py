"""Contains digests of files, seals for caches, and strict JSON."""
