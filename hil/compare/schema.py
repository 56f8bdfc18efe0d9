"""What a comparison says, as ``hil compare --json`` writes it; everything on paper or screen is drawn from here."""

from __future__ import annotations

from enum import Enum
from typing import Literal

from hil.results import Frozen

SCHEMA_VERSION: Literal[1] = 1


class Status(str, Enum):
    """What became of one row of a comparison."""

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
"""All others leave the comparison without a pass; ``told`` was never asked a question."""

WORST_FIRST = (
    *(Status.WORSE, Status.REFUSED, Status.CONFOUNDED, Status.MISSING, Status.UNCLEAR),
    *(Status.ACCEPTED, Status.BETTER, Status.SAME, Status.TOLD),
)


class Differing(Frozen):
    """A field that differs: its dotted name (or what people call it) and each side's values, as text."""

    name: str
    base: str
    cand: str


class Accepted(Frozen):
    """A level that somebody accepted: by whom, why and when (ISO 8601)."""

    value: float
    unit: str
    who: str
    why: str
    when: str
    run: str


class Settings(Frozen):
    """By which rule rows were judged; ``above``, ``exclude`` and ``confidence`` are fractions."""

    above: float = 0.01
    exclude: float = 0.05
    confidence: float = 0.99
    across_boards: bool = False


class Row(Frozen):
    """One check of one model in one precision on both sides.

    ``base`` and ``cand`` are medians of run values in ``unit``. ``effect``, ``low`` and ``high`` are the change from
    base to candidate: a fraction of the base, or a difference in ``unit`` where ``absolute``. ``p`` is adjusted for all
    rows of the comparison, ``visible`` the smallest change that would have been found with 90 %, ``noise`` the relative
    spread between sessions that is in the interval (``None``: not known). ``counts`` is false where the row does not
    decide the exit code.
    """

    check: str
    model: str
    precision: str
    scenario: str
    unit: str
    status: Status
    reason: str
    counts: bool = True
    base: float | None = None
    cand: float | None = None
    absolute: bool = False
    effect: float | None = None
    low: float | None = None
    high: float | None = None
    p: float | None = None
    visible: float | None = None
    noise: float | None = None
    runs: tuple[int, int] = (0, 0)
    sessions: tuple[int, int] = (0, 0)
    differing: tuple[Differing, ...] = ()
    accepted: Accepted | None = None

    @property
    def name(self) -> str:
        """``latency.p99 digits int8 saturated``."""
        return " ".join(filter(None, (self.check, self.model, self.precision, self.scenario)))


class SideUsed(Frozen):
    """One side of a comparison: how it was named, its runs (newest first) and the machines that they ran on."""

    name: str
    runs: tuple[str, ...]
    first: str
    last: str
    machines: tuple[str, ...]


class Compared(Frozen):
    """Two sides, every row of either, and what changed between them."""

    base: SideUsed
    cand: SideUsed
    rows: tuple[Row, ...]
    changed: tuple[Differing, ...]
    confounded: str | None = None

    @property
    def troubles(self) -> tuple[Row, ...]:
        """The rows that keep the comparison from passing, worst first."""
        found = [row for row in self.rows if row.counts and row.status not in GOOD]
        return tuple(sorted(found, key=lambda row: WORST_FIRST.index(row.status)))

    @property
    def passed(self) -> bool:
        """Whether something was judged, and nothing that counts is worse, open, missing or refused."""
        judged = any(row.counts and row.status in GOOD - {Status.TOLD} for row in self.rows)
        return judged and not self.troubles


class Document(Frozen):
    """What ``--json`` writes: one comparison with a base for each further side; ``by`` names a matrix's columns."""

    schema_version: Literal[1] = SCHEMA_VERSION
    hil_version: str
    by: str | None = None
    model: str | None = None
    settings: Settings
    passed: bool
    comparisons: tuple[Compared, ...]
