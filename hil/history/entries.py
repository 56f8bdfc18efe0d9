"""What a history hands out: runs, points, and what people and calibrations added to them. No database in here."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from hil.errors import UserError

if TYPE_CHECKING:
    from datetime import datetime

By = Literal["jetpack", "commit", "target"]
"""What runs can be put side by side by."""

INCOMPLETE = "incomplete"
"""The decision of a run that was ended before it was judged."""

MEASURED = "measured"
"""The verdict of a point that had no limit."""


class NoHistory(UserError):  # noqa: N818 - as the errors in hil.errors, it reads as what it says
    """Nothing was ever kept where a history was looked for."""


@dataclass(frozen=True)
class RunRecord:
    """One run, as its report tells it.

    ``target`` was asked for, ``used`` did the work. ``board`` is the declared board that the probe confirmed;
    ``module``, ``serial``, ``jetpack`` and ``l4t`` are what the probe read, ``cuda`` what drives the engines.
    ``commit`` is that of the repository that ``hil.toml`` lies in, ``dirty`` that it had changes not committed.
    ``decision`` is PASSED, WARNED, FAILED or ``incomplete``; ``evidence`` the best that a check stands on.
    ``whole`` is false for a run that was interrupted or ended by the user's or the lab's error.
    """

    id: str
    started: datetime
    target: str
    used: str
    kind: str
    board: str | None
    module: str | None
    serial: str | None
    jetpack: str | None
    l4t: str | None
    runtime: str
    runtime_version: str | None
    cuda: str | None
    commit: str | None
    dirty: bool
    decision: str
    hil_version: str
    config_digest: str
    report_digest: str
    evidence: str | None
    exit_code: int | None = None
    whole: bool = True

    @property
    def fallback(self) -> bool:
        """Whether another target did the work than the one asked for."""
        return self.used != self.target

    @property
    def usable(self) -> bool:
        """Whether others may be compared with it: neither a fallback nor broken off. It may have failed."""
        return self.whole and not self.fallback and self.decision != INCOMPLETE


@dataclass(frozen=True)
class Point:
    """One measurement of one run, in base units.

    ``runs`` are the values of fresh processes. ``method`` and ``environment`` are digests (``History.method``,
    ``History.environment``); ``engine`` is that of the engine's file. ``executed_on`` reads ``gpu Orin 8.7``.
    """

    run: RunRecord
    check: str
    model: str
    precision: str
    scenario: str
    value: float
    unit: str
    n: int
    low: float | None
    high: float | None
    runs: tuple[float, ...]
    method: str
    environment: str
    engine: str | None
    verdict: str
    executed_on: str | None


@dataclass(frozen=True)
class Acceptance:
    """A recorded act: ``run``'s level of one row is the new baseline on this target (and serial), by whom and why."""

    run: str
    check: str
    model: str
    precision: str
    target: str
    serial: str | None
    value: float
    unit: str
    who: str
    why: str
    when: datetime
    scenario: str = ""


@dataclass(frozen=True)
class Baseline:
    """A name for runs to compare with; the last one given to a name counts, the earlier ones stay on record."""

    name: str
    runs: tuple[str, ...]
    who: str
    why: str
    when: datetime


@dataclass(frozen=True)
class Noise:
    """What A/A sessions taught of a board: ``sd`` is the relative standard deviation between them.

    That is what runs of one session share and cannot show. ``false_alarm`` is the share of ``comparisons`` that told a
    change where there was none, each allowing for the noise that the others taught. ``serial`` is the board's; of
    another machine its host name, GPU and CPU (``hil.baseline.machine``).
    """

    serial: str
    target: str
    check: str
    model: str
    precision: str
    sd: float
    false_alarm: float
    comparisons: int
    when: datetime
