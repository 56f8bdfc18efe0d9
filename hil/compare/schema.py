"""Define the document of a comparison, as ``hil compare --json`` writes it.

The page, the comment and the terminal output are made from this document.
"""

from __future__ import annotations

from enum import Enum
from typing import Literal

from hil.results import Frozen

SCHEMA_VERSION: Literal[1] = 1


class Status(str, Enum):
    """The result of one row of a comparison.

    Attributes:
        SAME: a worsening is excluded, and no improvement is established.
        BETTER, WORSE: a change in this direction is established.
        ACCEPTED: worse than the base, but not worse than a level that somebody accepted.
        TOLD: shown, but not judged.
        UNCLEAR: neither a change nor its absence is established.
        MISSING: measured on one side only.
        CONFOUNDED: the machine may be the cause of a change.
        REFUSED: the sides have different methods or units.
    """

    SAME = "same"
    BETTER = "better"
    ACCEPTED = "accepted"
    TOLD = "told"
    WORSE = "worse"
    UNCLEAR = "unclear"
    MISSING = "missing"
    CONFOUNDED = "confounded"
    REFUSED = "refused"


GOOD = frozenset({Status.SAME, Status.BETTER, Status.ACCEPTED, Status.TOLD})
"""Statuses with which a comparison passes. Rows with ``told`` are not judged."""

WORST_FIRST = (
    *(Status.WORSE, Status.REFUSED, Status.CONFOUNDED, Status.MISSING, Status.UNCLEAR),
    *(Status.ACCEPTED, Status.BETTER, Status.SAME, Status.TOLD),
)


class Asked(str, Enum):
    """Why a row affects the exit code.

    Attributes:
        ROW: the option ``--row`` names it.
        DEFAULT: it is p50, which counts by default.
        REGRESSION: a ``regression`` table in ``hil.toml``, or a ``regression.`` check of a run, judges it.
        LIMIT: a limit judged it in one of the runs.
    """

    ROW = "row"
    DEFAULT = "default"
    REGRESSION = "regression"
    LIMIT = "limit"


class Differing(Frozen):
    """A field in which two sides differ: its dotted name or its display name, and the values of each side as text."""

    name: str
    base: str
    cand: str


class Accepted(Frozen):
    """An accepted level: its value, who accepted it, why and when (ISO 8601), and the id of the accepted run."""

    value: float
    unit: str
    who: str
    why: str
    when: str
    run: str


class Settings(Frozen):
    """The rule by which rows are judged; ``above``, ``exclude`` and ``confidence`` are fractions.

    A noisy row is worse or better if its change is significant at ``confidence`` and larger than ``above``. Otherwise
    its status is ``same`` if its interval excludes a worsening of ``exclude``. ``across_boards`` allows sides that were
    measured on different machines. ``rows`` are the patterns of ``--row``; ``regression`` names the models whose
    ``regression`` table makes rows count.
    """

    above: float = 0.01
    exclude: float = 0.05
    confidence: float = 0.99
    across_boards: bool = False
    rows: tuple[str, ...] = ()
    regression: tuple[str, ...] = ()


class Control(Frozen):
    """The change of the control from base to candidate, a fraction, with its 99 % interval. It corrects no value."""

    effect: float
    low: float
    high: float


class Row(Frozen):
    """One check of one model in one precision on both sides.

    Attributes:
        counts: whether the row affects the exit code; a row that does not is information.
        asked: what made the row count; ``None`` if nothing did.
        base, cand: in ``unit``, the median of a side's run values, or the values whose quotient gives ``effect``;
            ``None`` if the side lacks the row or the methods differ.
        absolute: whether ``effect`` is a difference in ``unit`` rather than a fraction of the base.
        effect, low, high: the change from base to candidate, and its interval.
        p: p-value, adjusted for all noisy rows of the comparison.
        visible: smallest relative change that is detected with 90 % statistical power.
        noise: relative standard deviation between sessions; ``None`` if unknown.
        control: the change of the control; ``None`` if the sides' controls cannot be compared.
        runs: number of runs of the base and of the candidate.
        sessions: number of sessions of the base and of the candidate.
        differing: if the row is refused for different methods, the fields in which the methods differ.
        accepted: the accepted level that applies to a row that is worse than the base.
    """

    check: str
    model: str
    precision: str
    scenario: str
    unit: str
    status: Status
    reason: str
    counts: bool = True
    asked: Asked | None = None
    base: float | None = None
    cand: float | None = None
    absolute: bool = False
    effect: float | None = None
    low: float | None = None
    high: float | None = None
    p: float | None = None
    visible: float | None = None
    noise: float | None = None
    control: Control | None = None
    runs: tuple[int, int] = (0, 0)
    sessions: tuple[int, int] = (0, 0)
    differing: tuple[Differing, ...] = ()
    accepted: Accepted | None = None

    @property
    def name(self) -> str:
        """Check, model, precision and scenario, such as ``latency.p99 digits int8 saturated``."""
        return " ".join(filter(None, (self.check, self.model, self.precision, self.scenario)))


class SideUsed(Frozen):
    """One side: its name, its runs (newest first), the times of its first and last run, and its machines."""

    name: str
    runs: tuple[str, ...]
    first: str
    last: str
    machines: tuple[str, ...]


class Compared(Frozen):
    """The comparison of two sides: every row of either side, and the differences of their environments.

    ``confounded`` is the reason if different machines may be the cause of a change, else ``None``. ``uncontrolled`` is
    a sentence that names the sides with timed rows but without a control; ``None`` if there is no such side.
    """

    base: SideUsed
    cand: SideUsed
    rows: tuple[Row, ...]
    changed: tuple[Differing, ...]
    confounded: str | None = None
    uncontrolled: str | None = None

    @property
    def troubles(self) -> tuple[Row, ...]:
        """The rows that prevent a pass, worst first."""
        bad = [row for row in self.rows if row.counts and row.status not in GOOD]
        return tuple(sorted(bad, key=lambda row: WORST_FIRST.index(row.status)))

    @property
    def passed(self) -> bool:
        """Whether at least one row that counts was judged, and ``troubles`` is empty."""
        judged = any(row.counts and row.status in GOOD - {Status.TOLD} for row in self.rows)
        return judged and not self.troubles


class Document(Frozen):
    """The output of ``--json``: one comparison with the base for each other side.

    ``by`` is the kind of a matrix's columns (``jetpack``, ``commit`` or ``target``); ``None`` for two sides. ``model``
    is the only model that was compared; ``None`` for all.
    """

    schema_version: Literal[1] = SCHEMA_VERSION
    hil_version: str
    by: str | None = None
    model: str | None = None
    settings: Settings
    passed: bool
    comparisons: tuple[Compared, ...]
