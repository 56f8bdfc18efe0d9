"""Bundled examples: real trained models on real data, each with the script that made it."""
