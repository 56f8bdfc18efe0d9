"""Tests of ``hil.jetson``: its tables, and identifying a machine from raw facts."""
