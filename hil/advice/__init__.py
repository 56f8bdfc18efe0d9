"""Advice for rows that did not pass, derived from their measurements: ``advised`` adds it to a report."""

from hil.advice.table import LONGEST, MOST, RULES, advised

__all__ = ["LONGEST", "MOST", "RULES", "advised"]
