"""What a specialist would say next of a row that did not pass, drawn from its own measurements: ``advised``."""

from hil.advice.table import LONGEST, MOST, RULES, advised

__all__ = ["LONGEST", "MOST", "RULES", "advised"]
