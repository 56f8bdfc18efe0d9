"""Tests of ``hil.jetson``: tables, and what raw facts make a machine."""
