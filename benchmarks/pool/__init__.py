"""Benchmarks of several boards: how fast they are, and whether random disturbances lose rows or split models."""
