"""Tests of the plugin through the real command line."""
