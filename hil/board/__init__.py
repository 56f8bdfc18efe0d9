"""What a board needs root for, once: a small helper with fixed verbs, put there and taken away on request."""
