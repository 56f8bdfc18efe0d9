"""Define the entries of a history: runs, points, acceptances, baselines and noise. This module uses no database."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from hil.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    from hil.results import ControlSummary

By = Literal["jetpack", "commit", "target"]
"""The criteria by which runs can be grouped into the columns of a matrix."""

INCOMPLETE = "incomplete"
"""The decision of a run that ended before it was judged."""

MEASURED = "measured"
"""The verdict of a point that had no limit."""


class NoHistory(UserError):  # noqa: N818 - named like the errors in hil.errors
    """A history was opened for reading, but its database does not exist or is empty."""


@dataclass(frozen=True)
class RunRecord:
    """One run, from its report.

    Attributes:
        target: the requested target.
        used: the target that did the work.
        board: the declared board, if the probe confirmed it.
        module, serial, jetpack, l4t: as the probe read them.
        cuda: the CUDA version that the probe read, or else that of the environments.
        commit: the commit of the repository that contains ``hil.toml``.
        dirty: whether the run may have used files that differ from ``commit``.
        decision: PASSED, WARNED, FAILED or ``incomplete``.
        evidence: the strongest evidence of the run's checks; ``None`` without any.
        whole: false for a run that did not finish, was interrupted, or ended with a user's or lab error.
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
        """Whether a fallback target did the work."""
        return self.used != self.target

    @property
    def usable(self) -> bool:
        """Whether this run may be compared: it is complete and not a fallback. A run with failed checks is usable."""
        return self.whole and not self.fallback and self.decision != INCOMPLETE


@dataclass(frozen=True)
class Point:
    """One measurement of one run, in base units.

    Attributes:
        runs: values of repeated measurements in separate processes (``--hil-runs``), if any.
        method, environment: digests, for ``History.method`` and ``History.environment``.
        engine: digest of the engine.
        executed_on: the processor as text, such as ``gpu Orin 8.7``.
        control: the control that was timed beside the measurement; ``None`` without one.
        disturbed: each disturbance from outside that was recorded with the measurement.
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
    control: ControlSummary | None = None
    disturbed: tuple[str, ...] = ()


@dataclass(frozen=True)
class Acceptance:
    """A record that ``who`` accepted the value of one row in the run ``run``, for its target and board (``serial``)."""

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
    """A name for runs to compare with. Of several entries with one name, the last applies; the others are kept."""

    name: str
    runs: tuple[str, ...]
    who: str
    why: str
    when: datetime


BETWEEN = "between boards "


def between(serials: Iterable[str]) -> str:
    """Return the text that ``Noise.serial`` has for the noise between the boards with these serial numbers."""
    return BETWEEN + json.dumps(sorted(set(serials)))


@dataclass(frozen=True)
class Noise:
    """The noise of one row between sessions on one machine, measured by repeated sessions of one engine.

    Attributes:
        serial: the board's serial number, or what ``hil.baseline.machine`` returns; or ``between`` of several boards.
        sd: relative standard deviation between sessions (a fraction), without the deviation between the runs of one
            session. For several boards: the largest relative difference between two boards.
        false_alarm: share of the ``comparisons`` that reported a change.
        comparisons: number of comparisons of two sessions.
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
