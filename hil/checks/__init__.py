"""Checks: pure functions from observations to a ``Judgement``; no input, no output, no clock.

One module for each family of checks. All fail closed: what was not run, is not enough, not comparable or not
finite is never ``passed``; a measurement without a limit is ``not_run`` with cause ``no_limit``.
"""
