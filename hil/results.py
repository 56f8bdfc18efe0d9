"""Define the types that every other module uses: check ids, measurements, limits, verdicts, results and rows.

They are immutable and stored in ``report.json``. Values are in base units: seconds (``s``), bytes (``B``), fractions
(``1``), rates (``1/s``). A check that a user defines keeps its own unit.
"""

from __future__ import annotations

from enum import Enum
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from hil.text import cleaned, joined

CheckId = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*(\.[a-z0-9_]+)+$", max_length=200)]
Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Line = Annotated[str, AfterValidator(joined)]
"""One line of text that may quote a model or a board: line breaks become spaces, unsafe characters are escaped."""
Details = Annotated[dict[str, Any], AfterValidator(cleaned)]
"""A table in whose keys and texts unsafe characters are escaped (``hil.text.cleaned``)."""

CLAIM = "weaker_claim"
"""The key of a check's details that states what a pass claims, if that is less than the tolerance requires."""


class Frozen(BaseModel):
    """Base class of stored objects: immutable, no unknown fields, no NaN or infinity (JSON has neither)."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Part(Frozen):
    """One file or callable that a model consists of, with its ``role`` and its ``size`` in bytes.

    ``name`` is a path as written in ``hil.toml``, the path of a module relative to ``hil.toml``, or
    ``module:callable``. ``hil.onnx_files.identity`` lists the parts of a model.
    """

    role: str
    name: str
    digest: Digest
    size: Annotated[int, Field(ge=0)]


class Verdict(str, Enum):
    """The outcome of a check; only ``passed`` means that its limit or fixed criterion is met."""

    PASSED = "passed"
    WARNED = "warned"
    FAILED = "failed"
    INCONCLUSIVE = "inconclusive"
    NOT_RUN = "not_run"

    __hash__ = str.__hash__  # Enum.__hash__ is a slow Python function, and a report may have thousands of rows


class Cause(str, Enum):
    """The kind of reason why a planned row was not judged."""

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
    """The kind of machine that a verdict is based on, best first. Policies compare kinds by ``EVIDENCE_RANK``."""

    DEVICE = "device"
    EMULATED = "emulated"
    HOST = "host"
    CPU_FALLBACK = "cpu-fallback"

    __hash__ = str.__hash__  # as for Verdict


EVIDENCE_RANK = {Evidence.DEVICE: 3, Evidence.EMULATED: 2, Evidence.HOST: 1, Evidence.CPU_FALLBACK: 0}


class Sense(str, Enum):
    """Whether a value must be at most or at least its limit."""

    AT_MOST = "at_most"
    AT_LEAST = "at_least"


class Limit(Frozen):
    """The limit of a measurement.

    ``value`` is in ``unit``. The warning band is from ``value`` to ``fail_at``; ``None`` for no band. ``source`` is
    ``file:line key`` or ``default``. ``reason`` and ``expires`` are the limit's reason and expiry date, if given.
    """

    value: float
    unit: str
    sense: Sense
    source: str
    fail_at: float | None = None
    reason: str | None = None
    expires: str | None = None


class ControlSummary(Frozen):
    """Times of the control, a fixed workload that was timed in short windows between the inferences of a timed series.

    A window's time is the median of its inferences. ``hil.stats.control.summary`` computes the fields.

    Attributes:
        workload: name and version of the workload; times of different workloads cannot be compared.
        windows: the number of windows.
        median: the median of the windows' times, in seconds.
        low, high: the 95 % interval of that median, two-sided, in seconds; ``None`` if there are too few windows.
        spread: the standard deviation between windows, of the logarithm of their times; occasional interrupted windows
            do not raise it.
        drift: the logarithm of the ratio of the windows' times, last third to first third.
        drift_low, drift_high: the 95 % interval of ``drift``, two-sided; ``None`` if there are too few windows.
    """

    workload: Line
    windows: int = Field(ge=1)
    median: float = Field(gt=0)
    low: float | None = None
    high: float | None = None
    spread: float = Field(ge=0)
    drift: float = 0.0
    drift_low: float | None = None
    drift_high: float | None = None


class Measurement(Frozen):
    """A measured value with its unit, confidence interval, sample count, method and environment.

    An open side of the interval (``low``, ``high``) is ``None``. ``method`` and ``environment`` are digests, the keys
    of the report's tables. ``runs`` are the values of separate runs, each in a new process; empty for a single run.
    ``control`` summarizes the control that was timed beside the row's own series and beside its separate runs; ``None``
    without a control.
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
    control: ControlSummary | None = None


class Question(Frozen):
    """The fields that a planned row and its result share; ``required`` is whether the policy requires it to pass."""

    id: CheckId
    model: str = ""
    precision: str = ""
    scenario: str = ""
    required: bool

    @property
    def key(self) -> RowKey:
        """The key of the row: id, model, precision, scenario. No two rows of a plan have the same key."""
        return (self.id, self.model, self.precision, self.scenario)

    @property
    def name(self) -> str:
        """The key as one line for policies and messages: ``latency.p99 digits int8``."""
        return " ".join(part for part in self.key if part)


class Row(Question):
    """A check of one model in one precision and scenario, planned before any target is contacted.

    ``test`` is the node id of its test; for a stock check, without the folder. ``limit`` is ``None`` without a limit.
    """

    limit: Limit | None = None
    test: str = ""


RowKey = tuple[str, str, str, str]


class TargetUse(Frozen):
    """The name of the target that was requested and of the one that did the work."""

    requested: str
    used: str


class ExecutedOn(Frozen):
    """The processor that a check ran on: ``kind`` is cpu, gpu or dla, ``sm`` a GPU's compute capability (``8.7``)."""

    kind: str
    name: str
    sm: str | None = None


class CheckResult(Question):
    """The verdict of one row, with its reason and measurement.

    ``advice`` lists what to do if the row did not pass. ``test`` is the node id of the test that reported a check of
    the project's own; empty for the stock suites. ``board`` is the name of the board that judged the row, if the target
    is several boards; else empty.
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
    board: Line = ""


def not_run(row: Row, cause: Cause, reason: str, target: TargetUse) -> CheckResult:
    """Return the result ``not_run`` of a row that was not judged; ``cause`` and ``reason`` state why."""
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
    """A verdict and its reason, as returned by a check function.

    The session sets ``evidence`` and ``executed_on`` afterwards (``hil.session.amendments``).
    """

    verdict: Verdict
    reason: Line
    cause: Cause | None = None
    measurement: Measurement | None = None
    limit: Limit | None = None
    details: Details = Field(default_factory=dict)
    evidence: Evidence | None = None
    executed_on: ExecutedOn | None = None
