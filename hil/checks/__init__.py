"""Checks: pure functions from observations to a ``Judgement``, without I/O and without a clock.

There is one module for each family of checks. All checks fail closed: none passes on values that are missing, too few,
not comparable or not finite. A measurement without a limit is ``not_run`` with the cause ``no_limit``.
"""
