"""Inputs that Hypothesis draws, and what is asked of an engine with them."""
