"""The nouns everything else speaks: check ids, measurements, limits, verdicts, results, rows.

All are frozen, all are stored in ``report.json``, none does any I/O. Values are in base units:
seconds (``s``), bytes (``B``), fractions (``1``), rates (``1/s``); a user's own check keeps its unit.
"""

from __future__ import annotations

from enum import Enum
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from hil.text import cleaned, joined

CheckId = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*(\.[a-z0-9_]+)+$", max_length=200)]
Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Line = Annotated[str, AfterValidator(joined)]
"""Text that may repeat a model's names or a board's words: on one line, with nothing in it that is obeyed."""
Details = Annotated[dict[str, Any], AfterValidator(cleaned)]
"""A table whose texts are safe in the same way, its keys included."""


class Frozen(BaseModel):
    """A stored value: immutable, no unknown fields, no NaN or infinity (JSON has neither)."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Part(Frozen):
    """One thing that a model consists of; ``role`` says as what, ``size`` is in bytes (``hil.onnx_files.identity``).

    ``name`` is a path as ``hil.toml`` writes it, a module's path relative to ``hil.toml``, or ``module:callable``.
    """

    role: str
    name: str
    digest: Digest
    size: Annotated[int, Field(ge=0)]


class Verdict(str, Enum):
    """How a check was judged; only ``passed`` is good news."""

    PASSED = "passed"
    WARNED = "warned"
    FAILED = "failed"
    INCONCLUSIVE = "inconclusive"
    NOT_RUN = "not_run"

    __hash__ = str.__hash__  # Enum's own is a Python function, and rows are counted by the thousand


class Cause(str, Enum):
    """Why a planned row was not run."""

    DESELECTED = "deselected"
    NOT_COLLECTED = "not_collected"
    OUT_OF_SCOPE = "out_of_scope"
    UNSUPPORTED = "unsupported"
    FALLBACK = "fallback"
    CRASHED = "crashed"
    STOPPED = "stopped"
    NO_RESULT = "no_result"
    NO_LIMIT = "no_limit"
    NO_BASELINE = "no_baseline"


class Evidence(str, Enum):
    """What a verdict stands on, best first; see ``EVIDENCE_RANK`` for the order a policy uses."""

    DEVICE = "device"
    EMULATED = "emulated"
    HOST = "host"
    CPU_FALLBACK = "cpu-fallback"

    __hash__ = str.__hash__  # as Verdict's


EVIDENCE_RANK = {Evidence.DEVICE: 3, Evidence.EMULATED: 2, Evidence.HOST: 1, Evidence.CPU_FALLBACK: 0}


class Sense(str, Enum):
    """Which side of a limit is good."""

    AT_MOST = "at_most"
    AT_LEAST = "at_least"


class Limit(Frozen):
    """What a measurement is held against.

    ``value`` and ``fail_at`` are in ``unit``; between the two lies the warning band (``fail_at`` is
    ``None`` where crossing ``value`` already fails). ``source`` is ``file:line key`` or ``default``.
    """

    value: float
    unit: str
    sense: Sense
    source: str
    fail_at: float | None = None
    reason: str | None = None
    expires: str | None = None


class Measurement(Frozen):
    """A value with its unit, interval and sample count, and by what method and where it was taken.

    ``low`` and ``high`` are the confidence interval at ``confidence`` (one side may be open:
    ``None``). ``method`` and ``environment`` are digests into the report's own tables. ``runs`` are the values
    of separate runs, each in a fresh process, in ``unit``; empty where there was only the one.
    """

    value: float
    unit: str
    low: float | None = None
    high: float | None = None
    confidence: float | None = None
    n: int = Field(ge=0)
    method: str = ""
    environment: str = ""
    runs: tuple[float, ...] = ()


class Question(Frozen):
    """What is asked, of which model in which precision; ``required`` by the policy or not."""

    id: CheckId
    model: str = ""
    precision: str = ""
    scenario: str = ""
    required: bool

    @property
    def key(self) -> RowKey:
        """What identifies the row: id, model, precision, scenario."""
        return (self.id, self.model, self.precision, self.scenario)

    @property
    def name(self) -> str:
        """The row in one line, as policies and messages write it: ``latency.p99 digits int8``."""
        return " ".join(part for part in self.key if part)


class Row(Question):
    """One question that must be judged: planned from the config alone, before any target is touched."""

    limit: Limit | None = None
    test: str = ""


RowKey = tuple[str, str, str, str]


class TargetUse(Frozen):
    """Which target was asked for and which one did the work."""

    requested: str
    used: str


class ExecutedOn(Frozen):
    """The processor a check's work ran on: ``kind`` is cpu, gpu or dla; ``sm`` as in ``8.7``."""

    kind: str
    name: str
    sm: str | None = None


class CheckResult(Question):
    """One question with one verdict; ``advice`` is what to do about one that did not pass, from what was measured.

    ``test`` is the node id of the test that a check of the project's own came from; the stock suites' have none.
    """

    verdict: Verdict
    reason: Line
    cause: Cause | None = None
    evidence: Evidence | None = None
    target: TargetUse
    executed_on: ExecutedOn | None = None
    measurement: Measurement | None = None
    limit: Limit | None = None
    engine: Digest | None = None
    details: Details = Field(default_factory=dict)
    advice: tuple[Line, ...] = ()
    test: Line = ""


def not_run(row: Row, cause: Cause, reason: str, target: TargetUse) -> CheckResult:
    """The result of a row that nothing judged."""
    return CheckResult(
        id=row.id,
        model=row.model,
        precision=row.precision,
        scenario=row.scenario,
        required=row.required,
        verdict=Verdict.NOT_RUN,
        reason=reason,
        cause=cause,
        target=target,
        limit=row.limit,
    )


class Judgement(Frozen):
    """The verdict of a check with its reason.

    A check function leaves ``evidence`` and ``executed_on`` empty: the session sets them (``hil.session.amendments``).
    """

    verdict: Verdict
    reason: Line
    cause: Cause | None = None
    measurement: Measurement | None = None
    limit: Limit | None = None
    details: Details = Field(default_factory=dict)
    evidence: Evidence | None = None
    executed_on: ExecutedOn | None = None
