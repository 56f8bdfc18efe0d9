"""Find the noise between sessions of a row: from the last calibration of its machine, else from earlier sessions."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hil.baseline import machine
from hil.catalogue import EXCLUDE
from hil.series import comparable_digest
from hil.stats.control_difference import usual
from hil.stats.runs import NOISE_DF
from hil.stats.session_noise import SessionNoise, pooled

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hil.history.entries import Point
    from hil.history.store import History

MOST_SESSIONS = 100
"""The most sessions of a target that are read: the newest ones. A machine changes over time."""


def _values(group: Sequence[Point]) -> list[Sequence[float]]:
    """Return the run values of each session of ``group`` whose control was as in most sessions."""
    kept = usual([point.control for point in group], EXCLUDE)
    return [point.runs or (point.value,) for point, keep in zip(group, kept, strict=True) if keep]


class SessionNoises:
    """The noise between sessions of each row in one history. It reads the sessions of each target and model once."""

    def __init__(self, history: History) -> None:
        self._history = history
        self._points: dict[tuple[str, str], list[Point]] = {}
        self._methods: dict[str, str] = {}
        self._machines: dict[tuple[str | None, str], str] = {}

    def of(self, compared: Sequence[Point]) -> SessionNoise:
        """Return the noise between sessions of one row, whose points are ``compared``, on the machine of the first.

        It is from the last calibration of the machine or, without one, from earlier sessions of the same target,
        machine, method and environment. Without enough sessions, ``known`` of the result is false. Sessions of
        ``compared``, and those whose control differs, are left out.
        """
        first = compared[0]
        board = self._machine(first)
        calibrated = self._history.noise(board, first.check, first.model, first.precision) if board else None
        if calibrated is not None:
            return SessionNoise(calibrated.sd, NOISE_DF, "calibrated", 2 * calibrated.comparisons)
        if not board:
            return pooled([])
        ours = {point.run.id for point in compared}
        groups: dict[str, list[Point]] = {}
        for point in self._earlier(first):
            if point.run.id not in ours and self._alike(point, first) and self._machine(point) == board:
                groups.setdefault(point.environment, []).append(point)
        return pooled(_values(group) for group in groups.values())

    def _earlier(self, point: Point) -> list[Point]:
        key = point.run.target, point.model
        if key not in self._points:
            runs = self._history.runs(limit=MOST_SESSIONS, model=point.model, target=point.run.target)
            usable = [run.id for run in runs if run.usable]
            self._points[key] = self._history.points(usable, model=point.model)
        return self._points[key]

    def _alike(self, point: Point, other: Point) -> bool:
        """Return whether two points are of the same row and method; false if one lacks its method or environment."""
        rows = [(one.check, one.precision, one.scenario, one.unit) for one in (point, other)]
        recorded = all(one.method and one.environment for one in (point, other))
        return rows[0] == rows[1] and recorded and self._method(point.method) == self._method(other.method)

    def _method(self, digest: str) -> str:
        """Return the digest of a method without its control."""
        if digest not in self._methods:
            self._methods[digest] = comparable_digest(self._history.method(digest), digest)
        return self._methods[digest]

    def _machine(self, point: Point) -> str:
        """Return the machine as a calibration names it: a board's serial number, else ``hil.baseline.machine``."""
        key = point.run.serial, point.environment
        if key not in self._machines:
            self._machines[key] = point.run.serial or machine(None, self._history.environment(point.environment))
        return self._machines[key]
