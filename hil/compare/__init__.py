"""Compare runs for ``hil compare``: decide what may be compared, what changed, and what got worse."""

from __future__ import annotations

from hil.compare.comparing import HistoryFacts, against_base, compare, document, sides_by
from hil.compare.schema import Compared, Document, Row, Settings, Status
from hil.compare.sides import Side

__all__ = [
    "Compared",
    "Document",
    "HistoryFacts",
    "Row",
    "Settings",
    "Side",
    "Status",
    "against_base",
    "compare",
    "document",
    "sides_by",
]
