"""Version 1 of ``report.json``: one run's plan, facts, measurements and verdicts.

The published JSON Schema (``docs/report-v1.schema.json``) is generated from here; what a schema cannot
say (that the numbers add up) is in ``hil.report.consistency``.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import ConfigDict, Field

from hil.config.spec import GateSpec
from hil.results import CheckId, CheckResult, Digest, ExecutedOn, Frozen, Line, Measurement, Part, Verdict

if TYPE_CHECKING:
    from collections.abc import Iterable

SCHEMA_VERSION: Literal[1] = 1
SCHEMA_ID = "urn:pytest-hil:report:v1"
Count = Annotated[int, Field(ge=0)]
Table = dict[str, Any]
Decided = Literal["PASSED", "WARNED", "FAILED"]


class Stored(Frozen):
    """A part of the report: strict, so that ``"1"`` is no number and ``1`` no truth value."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, strict=True)


class Totals(Stored):
    """How many checks were planned and how each was judged; ``planned`` is the sum of the others."""

    planned: Count
    passed: Count
    warned: Count
    failed: Count
    inconclusive: Count
    not_run: Count


class Run(Stored):
    """Who ran what, where and when; times are ISO 8601 with a zone.

    ``pytest_exit_status`` is pytest's own, before ours is decided; ``lab_error`` and ``user_error``
    are the message that ended the run, if one did. ``commit`` is that of the repository that ``hil.toml``
    lies in, and ``dirty`` whether the run used anything else: tracked files that were changed since, or a ``hil.toml``,
    conftest or Python module that the commit does not hold. ``changed`` names the first of these files.
    """

    id: Annotated[str, Field(min_length=1)]
    started: str
    finished: str | None = None
    hil_version: str
    python: str
    platform: str
    host: str
    arguments: tuple[str, ...] = ()
    pytest_exit_status: int | None = None
    lab_error: Line | None = None
    user_error: Line | None = None
    other_tests_failed: Count = 0
    commit: str | None = None
    dirty: bool | None = None
    changed: tuple[str, ...] = ()


class ConfigUsed(Stored):
    """The ``hil.toml`` of the run, by its path relative to where the run was started and its SHA-256.

    ``checks`` is the SHA-256 of ``hil.checks.json`` beside it, from which the project's own checks were planned.
    """

    path: str
    digest: Digest
    checks: Digest | None = None


class TargetReport(Stored):
    """Which target was asked for, which one did the work, and what the probe read on it.

    ``board`` is the declared board, if the probe confirmed it: without one no check has evidence ``device``.
    ``contract`` is what was declared of its state (``hil.state.state_types.Contract``).
    """

    requested: str
    used: str
    kind: str
    fallback_reason: Line | None = None
    facts: Table = Field(default_factory=dict)
    board: str | None = None
    contract: Table | None = None


class Measured(Stored):
    """A measurement without a limit: told, never judged, never part of the totals."""

    id: CheckId
    model: str = ""
    precision: str = ""
    scenario: str = ""
    measurement: Measurement
    details: Table = Field(default_factory=dict)


class ExternalData(Stored):
    """An external data file of an engine that is an ONNX file.

    ``file`` is its copy below the report's folder, beside the engine and under the name that this has for it;
    ``size`` in bytes.
    """

    file: str
    digest: Digest
    size: Count


class EngineUsed(Stored):
    """An engine that was judged; ``file`` is its copy below the report's folder, ``size`` in bytes.

    ``foreign`` marks one that was built elsewhere. ``log`` is the end of the runtime's own words while building,
    ``about`` what the build recorded (caches, calibration, flags, its peak of memory), ``trtexec`` the ``command``
    that builds the like of it and what ``differs``, ``executed_on`` the processor that does its work.
    ``calibration_cache`` is the SHA-256 of what its INT8 ranges came from: TensorRT's calibration cache, or the ONNX
    file with Q/DQ nodes. ``external`` are the files beside it that it needs (``digest`` covers their digests).
    """

    model: str
    precision: str
    runtime: str
    runtime_version: str
    digest: Digest
    key: str
    size: Count
    file: str | None = None
    build_seconds: Annotated[float, Field(ge=0)]
    cached: bool
    foreign: bool = False
    log: str = ""
    about: Table = Field(default_factory=dict)
    trtexec: Table | None = None
    executed_on: ExecutedOn | None = None
    calibration_cache: Digest | None = None
    external: Annotated[tuple[ExternalData, ...], Field(strict=False)] = ()  # a list where a worker sent it as JSON

    @property
    def files(self) -> tuple[tuple[str, str], ...]:
        """Each file that it consists of, below the report's folder (empty where there is no copy), with its SHA-256."""
        return ((self.file or "", self.digest), *((one.file, one.digest) for one in self.external))


class ModelUsed(Stored):
    """A model with the data that it was judged on, each by its SHA-256.

    ``digest`` is that of the ONNX file; ``identity`` that of all ``parts`` that the model consists of
    (``hil.onnx_files.identity``): external data, plugins, callables and the project's modules that these import. A
    report of an earlier version has neither.
    ``data_provenance`` tells where the samples come from: the source's kind, and for code that makes or
    prepares them (``preprocess``, a callable) its name and the SHA-256 of its file.
    """

    name: str
    path: str
    digest: Digest
    identity: Digest | None = None
    parts: tuple[Part, ...] = ()
    data: str
    data_digest: str
    data_provenance: Table = Field(default_factory=dict)
    samples: Count
    synthetic: bool
    calibration: Table | None = None
    reference: Table | None = None


class Rejected(Stored):
    """A result that answers no planned row, or answers one a second time and differently."""

    id: str
    model: str = ""
    precision: str = ""
    reason: Line


class Report(Stored):
    """One run, whole. ``decision`` and ``exit_code`` are the gate's, by the ``policy`` in here.

    ``digest`` is the SHA-256 of the canonical JSON of everything else (``hil.report.canonical``);
    it is empty only before the report is sealed.
    """

    schema_version: Literal[1] = SCHEMA_VERSION
    status: Literal["incomplete", "complete"]
    decision: Decided | None = None
    exit_code: int | None = None
    reasons: tuple[Line, ...] = ()
    totals: Totals
    checks: tuple[CheckResult, ...] = ()
    run: Run
    config: ConfigUsed
    policy: GateSpec
    target: TargetReport
    measurements: tuple[Measured, ...] = ()
    methods: dict[Digest, Table] = Field(default_factory=dict)
    environments: dict[Digest, Table] = Field(default_factory=dict)
    engines: tuple[EngineUsed, ...] = ()
    models: tuple[ModelUsed, ...] = ()
    rejected: tuple[Rejected, ...] = ()
    digest: Annotated[str, Field(pattern=r"^([0-9a-f]{64})?$")] = ""


def count(checks: Iterable[CheckResult]) -> Totals:
    """The totals of these rows; ``planned`` is how many there are."""
    seen = Counter(check.verdict for check in checks)
    each = {verdict.value: seen[verdict] for verdict in Verdict}
    return Totals(planned=sum(each.values()), **each)


def report_schema() -> dict[str, Any]:
    """The JSON Schema (2020-12) of ``report.json``."""
    schema = Report.model_json_schema(mode="validation")
    required = ["schema_version", *schema["required"], "decision", "exit_code", "reasons", "checks", "digest"]
    head = {"$schema": "https://json-schema.org/draft/2020-12/schema", "$id": SCHEMA_ID, "title": "report.json"}
    return {**schema, **head, "required": sorted(set(required))}
