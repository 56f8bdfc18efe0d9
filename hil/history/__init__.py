"""The history: reports kept in a database, to compare with."""

from __future__ import annotations

from hil.history.types import Acceptance, Baseline, By, Noise, Point, RunRecord

__all__ = ["Acceptance", "Baseline", "By", "Noise", "Point", "RunRecord"]
