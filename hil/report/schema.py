"""Define version 1 of ``report.json``: the plan, facts, measurements and verdicts of one run.

The published JSON Schema (``docs/report-v1.schema.json``) is generated from this module. Rules that a schema cannot
express, such as totals that add up, are in ``hil.report.consistency``.
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
Status = Literal["incomplete", "complete", "partial"]
"""``partial``: the run judged only the tests that its user selected. It has no decision, and no gate accepts it."""


class Stored(Frozen):
    """Base class of this module's parts of a report. Types are strict: ``"1"`` is not a number, ``1`` not a boolean."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, strict=True)


class Totals(Stored):
    """The number of checks with each verdict. ``planned`` is the sum of the other numbers."""

    planned: Count
    passed: Count
    warned: Count
    failed: Count
    inconclusive: Count
    not_run: Count


class FailedTest(Stored):
    """A failed test beside the checks, or a file of tests that was not collected: its node id and its exception."""

    test: Line
    message: Line


class Run(Stored):
    """The run: its id, times, versions, host and command line. Times are ISO 8601 with a time zone.

    Attributes:
        pytest_exit_status: pytest's own status.
        lab_error, user_error: message of the error that ended the run, if any.
        commit: the commit of the repository that contains ``hil.toml``.
        dirty: whether the run used files that differ from ``commit``; ``null``: unknown.
        changed: the first of these files.
        failed_tests: the first of the other tests that failed, and of the test files that could not be collected.
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
    failed_tests: tuple[FailedTest, ...] = ()


class ConfigUsed(Stored):
    """The ``hil.toml`` of the run: its path, relative to the folder where the run was started, and its SHA-256.

    ``checks`` is the SHA-256 of ``hil.checks.json``, the list of the project's own checks, if there is one. ``guessed``
    lists, for each model of the file, the keys that were guessed and not confirmed.
    """

    path: str
    digest: Digest
    checks: Digest | None = None
    guessed: dict[str, tuple[Line, ...]] = Field(default_factory=dict)


class BoardUsed(Stored):
    """One board of a target that consists of several boards.

    Attributes:
        serial, module: its serial number and module, as far as they could be read.
        board: the declared board, if the probe confirmed it.
        facts: what the probe read there.
        lost: why it was lost during the run, if it was.
    """

    serial: Line | None = None
    module: Line | None = None
    board: str | None = None
    facts: Table = Field(default_factory=dict)
    lost: Line | None = None


class TargetReport(Stored):
    """The name of the requested target and of the used one, and the facts that the probe read on the used one.

    ``board`` is the declared board, if the probe confirmed it, ``contract`` the declared ``hil.state.Contract``. If the
    target consists of several boards, ``boards`` has the used boards by name, and ``facts`` are those of the first.
    ``boards_differ`` has the largest relative difference of their controls in a calibration, by workload.
    """

    requested: str
    used: str
    kind: str
    fallback_reason: Line | None = None
    facts: Table = Field(default_factory=dict)
    board: str | None = None
    contract: Table | None = None
    boards: dict[str, BoardUsed] = Field(default_factory=dict)
    boards_differ: dict[str, Annotated[float, Field(ge=0)]] = Field(default_factory=dict)


class VoidRow(Stored):
    """A row of a void attempt, with the verdict that the row had there."""

    id: CheckId
    model: str = ""
    precision: str = ""
    scenario: str = ""
    verdict: Verdict
    reason: Line


class VoidAttempt(Stored):
    """An attempt to judge a model that ended early, because its board or its worker process was lost.

    Its rows do not count.

    Attributes:
        model: the model; empty for tests without one.
        board: the board's name.
        reason: why the attempt ended.
        repeated: whether another attempt judged all rows of the model again.
        rows: the rows that had been judged when the attempt ended.
    """

    model: str = ""
    board: str
    reason: Line
    repeated: bool
    rows: tuple[VoidRow, ...] = ()


class Measured(Stored):
    """A measurement without a limit. It is not judged and not part of the totals."""

    id: CheckId
    model: str = ""
    precision: str = ""
    scenario: str = ""
    measurement: Measurement
    details: Table = Field(default_factory=dict)
    board: Line = ""


class ExternalData(Stored):
    """External data of an engine that is an ONNX file: ``file`` is the path of its copy, as for the engine."""

    file: str
    digest: Digest
    size: Count


class EngineUsed(Stored):
    """An engine that was judged.

    Attributes:
        digest: SHA-256 of its file, which names external data by SHA-256.
        size: bytes of its file.
        file: path of its copy below the report's folder.
        built_on: the equal board that built it, by name and serial number; ``None`` if the board that ran it did.
        foreign: whether it was built elsewhere.
        log: end of the runtime's build log.
        about: facts of the build (caches, calibration, flags, peak memory).
        trtexec: ``command`` that builds an equivalent engine, and how that ``differs``.
        executed_on: the processor that executes it.
        calibration_cache: SHA-256 of TensorRT's calibration cache, or of the ONNX file with Q/DQ nodes.
        external: the external data files that it needs.
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
    built_on: str | None = None
    foreign: bool = False
    log: str = ""
    about: Table = Field(default_factory=dict)
    trtexec: Table | None = None
    executed_on: ExecutedOn | None = None
    calibration_cache: Digest | None = None
    external: Annotated[tuple[ExternalData, ...], Field(strict=False)] = ()  # a list where a worker sent it as JSON

    @property
    def files(self) -> tuple[tuple[str, str], ...]:
        """Path (below the report's folder; empty without a copy there) and SHA-256 of each file of the engine."""
        return ((self.file or "", self.digest), *((data.file, data.digest) for data in self.external))


class ModelUsed(Stored):
    """A model and its validation data. Reports of earlier versions have neither ``parts`` nor ``identity``.

    Attributes:
        digest: SHA-256 of the ONNX file.
        identity: one digest of all ``parts`` (``hil.onnx_files.identity``).
        parts: ONNX file, external data, plugins, callables and the project modules that these import.
        data_digest: SHA-256 of the validation data.
        data_provenance: kind of source, and name and SHA-256 of the code that creates or preprocesses the samples.
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
    """A rejected result: its row was not planned, or another test had already reported a result for the row."""

    id: str
    model: str = ""
    precision: str = ""
    reason: Line


class Report(Stored):
    """The report of one run. ``decision`` and ``exit_code`` are the gate's result under ``policy``, if ``complete``.

    ``attempts`` are the attempts that do not count.

    ``digest`` is the SHA-256 of the canonical JSON of all other fields; empty before the report is sealed.
    """

    schema_version: Literal[1] = SCHEMA_VERSION
    status: Status
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
    attempts: tuple[VoidAttempt, ...] = ()
    digest: Annotated[str, Field(pattern=r"^([0-9a-f]{64})?$")] = ""


def count(checks: Iterable[CheckResult]) -> Totals:
    """Return the totals of the rows ``checks``; ``planned`` is the number of rows."""
    verdicts = Counter(check.verdict for check in checks)
    totals = {verdict.value: verdicts[verdict] for verdict in Verdict}
    return Totals(planned=sum(totals.values()), **totals)


def report_schema() -> dict[str, Any]:
    """Return the JSON Schema (2020-12) of ``report.json``."""
    schema = Report.model_json_schema(mode="validation")
    required = ["schema_version", *schema["required"], "decision", "exit_code", "reasons", "checks", "digest"]
    head = {"$schema": "https://json-schema.org/draft/2020-12/schema", "$id": SCHEMA_ID, "title": "report.json"}
    return {**schema, **head, "required": sorted(set(required))}
