"""Advise what to do about rows that did not pass, from their measurements; ``advised`` adds the advice to a report."""

from hil.advice.table import LONGEST, MOST, RULES, advised

__all__ = ["LONGEST", "MOST", "RULES", "advised"]
