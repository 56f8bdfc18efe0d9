"""Make from a report the statement that is signed: an in-toto Statement v1 with the predicate test-result v0.1.

Required checks that were not run, and all inconclusive checks, are therefore listed as failed.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated, Any, Literal, get_args

from pydantic import ConfigDict, Field, ValidationError

from hil.errors import AttestationRefused
from hil.files import strictjson
from hil.gate.rules import required_rows
from hil.report.schema import Decided
from hil.results import Digest, Frozen, Verdict
from hil.series import digest_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hil.config.spec import GateSpec
    from hil.report.schema import Report

Role = Literal["engine", "onnx", "external-data", "deployed", "plugin", "calibration-cache"]
"""The role of a file for its model. ``deployed`` is the ONNX file of the config key ``deployed``: engines are built
from it instead of the model's own ONNX file."""
ROLES: tuple[Role, ...] = get_args(Role)
Names = tuple[str, ...]
DIRTY: dict[bool | None, Literal["", "yes", "no"]] = {None: "", True: "yes", False: "no"}


class Part(Frozen):
    """Base class of the parts of a statement. A value of the wrong type and an unknown field are errors."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, strict=True)


class Sha256(Part):
    """An in-toto digest set that contains a SHA-256 only."""

    sha256: Digest


class SubjectNotes(Part):
    """The role of a subject, and the model and precision that it belongs to.

    ``precision`` is empty except for an engine and a calibration cache. For the ONNX file, ``identity`` is the digest
    of all files of the model; otherwise it is empty.
    """

    role: Role
    model: str
    precision: str
    identity: Annotated[str, Field(pattern=r"^([0-9a-f]{64})?$")] = ""


class Subject(Part):
    """A file that was judged, by its SHA-256."""

    name: Annotated[str, Field(min_length=1)]
    digest: Sha256
    annotations: SubjectNotes

    @property
    def sha256(self) -> str:
        """The file's SHA-256, in hex."""
        return self.digest.sha256

    @property
    def role(self) -> Role:
        """The role of the file for its model."""
        return self.annotations.role

    @property
    def model(self) -> str:
        """The model's name in ``hil.toml``."""
        return self.annotations.model

    @property
    def precision(self) -> str:
        """The precision of an engine or a calibration cache; empty for other subjects."""
        return self.annotations.precision

    @property
    def identity(self) -> str:
        """The identity of the model (the digest of all its files) if this is its ONNX file; empty for other files."""
        return self.annotations.identity


class PolicyUsed(Part):
    """The gate's name and the digest of its policy."""

    name: Literal["hil-gate"] = "hil-gate"
    digest: Sha256


class RunNotes(Part):
    """The main facts of the run, readable without the report; empty where the report has no value.

    ``dirty`` is ``yes`` if the run used files that differ from ``commit``, else ``no``; it is empty in older
    statements, and if the difference is unknown.
    """

    run: str
    finished: str
    target: str
    used: str
    board: str
    module: str
    jetpack: str
    commit: str
    dirty: Literal["", "yes", "no"] = ""
    exit_code: str

    @property
    def is_dirty(self) -> bool | None:
        """``dirty`` as a boolean; ``None`` if it is unknown."""
        return {"yes": True, "no": False}.get(self.dirty)


class ReportUsed(Part):
    """The report, by the SHA-256 of the file's bytes."""

    name: Literal["report.json"] = "report.json"
    digest: Sha256
    mediaType: Literal["application/json"] = "application/json"  # noqa: N815 - the name in the specification
    annotations: RunNotes


class ConfigUsed(Part):
    """``hil.toml``, by the SHA-256 of the file's bytes."""

    name: Literal["hil.toml"] = "hil.toml"
    digest: Sha256


class Predicate(Part):
    """The decision, the policy, report and config that it is based on, and the checks by result."""

    result: Decided
    configuration: tuple[PolicyUsed, ReportUsed, ConfigUsed]
    passedTests: Names  # noqa: N815 - the name in the specification
    warnedTests: Names  # noqa: N815 - as above
    failedTests: Names  # noqa: N815 - as above


class Statement(Part):
    """A whole statement. The field ``type`` is serialized as ``_type``."""

    type: Literal["https://in-toto.io/Statement/v1"] = Field(default="https://in-toto.io/Statement/v1", alias="_type")
    subject: Annotated[tuple[Subject, ...], Field(min_length=1)]
    predicateType: Literal["https://in-toto.io/attestation/test-result/v0.1"] = (  # noqa: N815 - as above
        "https://in-toto.io/attestation/test-result/v0.1"
    )
    predicate: Predicate

    @property
    def report(self) -> ReportUsed:
        """The report that the statement was made from."""
        return self.predicate.configuration[1]


def statement_of(report: Report, content_digest: str) -> Statement:
    """Return the statement of a complete report; ``content_digest`` is the SHA-256 of the bytes of ``report.json``.

    Raises ``AttestationRefused`` for an incomplete report and for a report without an engine.
    """
    if report.status != "complete" or report.decision is None:
        raise AttestationRefused("the run of this report did not finish: nothing can be attested: run the checks again")
    subjects = tuple(_subjects(report))
    if not any(subject.role == "engine" for subject in subjects):
        raise AttestationRefused("the report judged no engine: nothing can be attested: let a check build one")
    settled = {Verdict.PASSED, Verdict.WARNED}
    unsettled = {check.key for check in required_rows(report, report.policy) if check.verdict not in settled}
    judged = {Verdict.FAILED, Verdict.INCONCLUSIVE}
    failed = [c.name for c in report.checks if c.verdict in judged or c.key in unsettled]
    predicate = Predicate(
        result=report.decision,
        configuration=(
            PolicyUsed(digest=_sha256(_policy_digest(report.policy))),
            ReportUsed(digest=_sha256(content_digest), annotations=_notes(report)),
            ConfigUsed(digest=_sha256(report.config.digest)),
        ),
        passedTests=tuple(c.name for c in report.checks if c.verdict is Verdict.PASSED),
        warnedTests=tuple(c.name for c in report.checks if c.verdict is Verdict.WARNED),
        failedTests=tuple(failed),
    )
    return Statement(subject=subjects, predicate=predicate)


def _policy_digest(policy: GateSpec) -> str:
    """Return the digest of the policy's keys, without ``clean`` if it is unset."""
    return digest_of(policy.model_dump(mode="json", exclude={"clean"} if policy.clean is None else None))


def as_signed(current: Statement, signed: Statement) -> Statement:
    """Return ``current``, but with an empty annotation ``dirty`` if ``signed``, of an earlier version, lacks it."""
    notes = signed.report.annotations
    if "dirty" in notes.model_fields_set:
        return current
    policy, report, config = current.predicate.configuration
    older = report.model_copy(update={"annotations": report.annotations.model_copy(update={"dirty": notes.dirty})})
    predicate = current.predicate.model_copy(update={"configuration": (policy, older, config)})
    return current.model_copy(update={"predicate": predicate})


def write(document_of: Statement) -> bytes:
    """Return a statement as the bytes that are signed."""
    document = document_of.model_dump(mode="json", by_alias=True)
    return json.dumps(document, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode("utf-8")


def parse(payload: bytes, name: str) -> Statement:
    """Return the statement in ``payload``. Messages begin with ``name``.

    Raises ``AttestationRefused`` for damaged JSON, for an unknown type, predicate or field, and for a result that
    contradicts the listed tests.
    """
    try:
        strictjson.loads(payload)  # refuses repeated keys, of which pydantic would use the last
        parsed = Statement.model_validate_json(payload, strict=True)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        where = ".".join(str(part)[:60] for part in first["loc"]) or "top"
        raise AttestationRefused(
            f"{name}: refused: not a statement of hil: {where}: {first['msg']}: attest the report again"
        ) from None
    except (ValueError, RecursionError) as error:
        why = str(error) if type(error) is ValueError else "not JSON"
        raise AttestationRefused(f"{name}: refused: its payload is damaged ({why}): attest the report again") from None
    predicate = parsed.predicate
    good = {"PASSED": not predicate.failedTests and not predicate.warnedTests, "WARNED": not predicate.failedTests}
    if not good.get(predicate.result, True):
        what = f"its result is {predicate.result}, but it lists tests with worse results"
        raise AttestationRefused(f"{name}: refused: {what}: attest the report again")
    return parsed


def _sha256(digest: str) -> Sha256:
    return Sha256(sha256=digest)


def _subjects(report: Report) -> Iterator[Subject]:
    """Yield the engines, then the models with their other files, then the calibration caches.

    A file that several models or engines use is yielded once for each.
    """
    for engine in report.engines:
        notes = SubjectNotes(role="engine", model=engine.model, precision=engine.precision)
        name = engine.file or f"engine of {engine.model} {engine.precision}"
        yield Subject(name=name, digest=_sha256(engine.digest), annotations=notes)
    for model in report.models:
        notes = SubjectNotes(role="onnx", model=model.name, precision="", identity=model.identity or "")
        yield Subject(name=model.path, digest=_sha256(model.digest), annotations=notes)
        for part in model.parts:
            if part.role in ROLES and part.role not in {"engine", "onnx"}:  # these are yielded above
                notes = SubjectNotes(role=part.role, model=model.name, precision="")
                yield Subject(name=part.name, digest=_sha256(part.digest), annotations=notes)
    for engine in report.engines:
        if engine.calibration_cache is not None:
            notes = SubjectNotes(role="calibration-cache", model=engine.model, precision=engine.precision)
            name = f"calibration cache of {engine.model} {engine.precision}"
            yield Subject(name=name, digest=_sha256(engine.calibration_cache), annotations=notes)


def _notes(report: Report) -> RunNotes:
    facts = report.target.facts.get("identity")
    identity: dict[str, Any] = facts if isinstance(facts, dict) else {}
    return RunNotes(
        run=report.run.id,
        finished=report.run.finished or "",
        target=report.target.requested,
        used=report.target.used,
        board=report.target.board or "",
        module=str(identity.get("module") or ""),
        jetpack=str(identity.get("jetpack") or ""),
        commit=report.run.commit or "",
        dirty=DIRTY[report.run.dirty],
        exit_code=str(report.exit_code),
    )
