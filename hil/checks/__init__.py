"""Checks: pure functions from observations to a ``Judgement``, one module for each family.

No check passes on values that are missing, too few, not comparable or not finite.
"""
