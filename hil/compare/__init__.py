"""Comparing runs: what may be compared, what changed, and whether it got worse. Pure; ``hil compare`` is above it."""

from __future__ import annotations

from hil.compare.comparing import Learned, against_base, compare, document, sides_by
from hil.compare.schema import Compared, Document, Row, Settings, Status
from hil.compare.sides import Side

__all__ = [
    "Compared",
    "Document",
    "Learned",
    "Row",
    "Settings",
    "Side",
    "Status",
    "against_base",
    "compare",
    "document",
    "sides_by",
]
