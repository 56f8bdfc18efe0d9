"""Verdicts of a comparison on real models that are changed soundly or damaged."""
