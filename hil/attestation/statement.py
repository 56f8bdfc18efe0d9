"""What is signed: an in-toto Statement v1 with the predicate test-result v0.1, made from a report.

https://github.com/in-toto/attestation/blob/main/spec/predicates/test-result.md has no word for a test that was not run.
So whatever the policy requires and nothing settled is among the failed ones, never left out.
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
"""What a subject is to the model it belongs to; ``deployed`` is the ONNX file that engines were built from instead."""
ROLES: tuple[Role, ...] = get_args(Role)
Names = tuple[str, ...]
DIRTY: dict[bool | None, Literal["", "yes", "no"]] = {None: "", True: "yes", False: "no"}


class Part(Frozen):
    """A part of the document: strict, every field there, no other one."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, strict=True)


class Sha256(Part):
    """A digest set with the one digest that is used here."""

    sha256: Digest


class SubjectNotes(Part):
    """What a subject is: its role, and the model and precision that it belongs to (an ONNX file has none).

    ``identity`` is that of the model, stated with its ONNX file (``hil.onnx_files.identity``); empty elsewhere, and
    for the report of an earlier version.
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
        """What the file is to its model."""
        return self.annotations.role

    @property
    def model(self) -> str:
        """The model's name in ``hil.toml``."""
        return self.annotations.model

    @property
    def precision(self) -> str:
        """The precision, empty for an ONNX file."""
        return self.annotations.precision

    @property
    def identity(self) -> str:
        """The digest of all that the model consists of, of an ONNX file; else empty."""
        return self.annotations.identity


class PolicyUsed(Part):
    """First of the configuration, where consumers look for the test's name: the gate, and its policy by digest."""

    name: Literal["hil-gate"] = "hil-gate"
    digest: Sha256


class RunNotes(Part):
    """What a reader wants to know of the run before opening the report; empty where the report has none.

    ``dirty`` is ``yes`` or ``no``: whether the run used anything that ``commit`` does not hold. Older statements have
    none.
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
        """``dirty`` as a truth value; ``None`` where it is unknown."""
        return {"yes": True, "no": False}.get(self.dirty)


class ReportUsed(Part):
    """The report: the SHA-256 of the file's bytes."""

    name: Literal["report.json"] = "report.json"
    digest: Sha256
    mediaType: Literal["application/json"] = "application/json"  # noqa: N815 - the name in the specification
    annotations: RunNotes


class ConfigUsed(Part):
    """``hil.toml`` by its SHA-256."""

    name: Literal["hil.toml"] = "hil.toml"
    digest: Sha256


class Predicate(Part):
    """The decision and what it is of."""

    result: Decided
    configuration: tuple[PolicyUsed, ReportUsed, ConfigUsed]
    passedTests: Names  # noqa: N815 - the name in the specification
    warnedTests: Names  # noqa: N815 - as above
    failedTests: Names  # noqa: N815 - as above


class Statement(Part):
    """The whole statement; ``type`` is written as ``_type``."""

    type: Literal["https://in-toto.io/Statement/v1"] = Field(default="https://in-toto.io/Statement/v1", alias="_type")
    subject: Annotated[tuple[Subject, ...], Field(min_length=1)]
    predicateType: Literal["https://in-toto.io/attestation/test-result/v0.1"] = (  # noqa: N815 - as above
        "https://in-toto.io/attestation/test-result/v0.1"
    )
    predicate: Predicate

    @property
    def report(self) -> ReportUsed:
        """The report that it is of."""
        return self.predicate.configuration[1]


def statement_of(report: Report, content_digest: str) -> Statement:
    """The statement that a complete report makes; ``content_digest`` is the SHA-256 of the file's bytes.

    Raises ``AttestationRefused`` for a report that did not finish, and for one that judged no engine.
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
    """Of all keys as they were when the report was written: an older one has no ``clean``, and a digest without it."""
    return digest_of(policy.model_dump(mode="json", exclude={"clean"} if policy.clean is None else None))


def as_signed(found: Statement, signed: Statement) -> Statement:
    """``found`` without the notes that an older hil did not sign yet, as ``signed`` has them."""
    notes = signed.report.annotations
    if "dirty" in notes.model_fields_set:
        return found
    policy, report, config = found.predicate.configuration
    older = report.model_copy(update={"annotations": report.annotations.model_copy(update={"dirty": notes.dirty})})
    predicate = found.predicate.model_copy(update={"configuration": (policy, older, config)})
    return found.model_copy(update={"predicate": predicate})


def write(statement: Statement) -> bytes:
    """The bytes that are signed."""
    document = statement.model_dump(mode="json", by_alias=True)
    return json.dumps(document, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode("utf-8")


def parse(payload: bytes, name: str) -> Statement:
    """The statement in a payload, whole and free of contradictions. ``name`` goes into messages.

    Raises ``AttestationRefused`` for any other type, predicate or field, and for a result that its own tests deny.
    """
    try:
        strictjson.loads(payload)  # pydantic takes the last of two equal keys
        found = Statement.model_validate_json(payload, strict=True)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        where = ".".join(str(part)[:60] for part in first["loc"]) or "top"
        raise AttestationRefused(
            f"{name}: refused: no statement of hil: {where}: {first['msg']}: attest the report again"
        ) from None
    except (ValueError, RecursionError) as error:
        why = str(error) if type(error) is ValueError else "not JSON"
        raise AttestationRefused(f"{name}: refused: its payload is damaged ({why}): attest the report again") from None
    predicate = found.predicate
    good = {"PASSED": not predicate.failedTests and not predicate.warnedTests, "WARNED": not predicate.failedTests}
    if not good.get(predicate.result, True):
        what = f"it says {predicate.result} and names tests that did worse"
        raise AttestationRefused(f"{name}: refused: {what}: attest the report again")
    return found


def _sha256(digest: str) -> Sha256:
    return Sha256(sha256=digest)


def _subjects(report: Report) -> Iterator[Subject]:
    """Engines, then models with the files that go with them, then what INT8 ranges came from; each file once a use."""
    for engine in report.engines:
        notes = SubjectNotes(role="engine", model=engine.model, precision=engine.precision)
        name = engine.file or f"engine of {engine.model} {engine.precision}"
        yield Subject(name=name, digest=_sha256(engine.digest), annotations=notes)
    for model in report.models:
        notes = SubjectNotes(role="onnx", model=model.name, precision="", identity=model.identity or "")
        yield Subject(name=model.path, digest=_sha256(model.digest), annotations=notes)
        for part in model.parts:
            if part.role in ROLES and part.role not in {"engine", "onnx"}:  # these stand for themselves
                notes = SubjectNotes(role=part.role, model=model.name, precision="")
                yield Subject(name=part.name, digest=_sha256(part.digest), annotations=notes)
    for engine in report.engines:
        if engine.calibration_cache is not None:
            notes = SubjectNotes(role="calibration-cache", model=engine.model, precision=engine.precision)
            name = f"calibration cache of {engine.model} {engine.precision}"
            yield Subject(name=name, digest=_sha256(engine.calibration_cache), annotations=notes)


def _notes(report: Report) -> RunNotes:
    told = report.target.facts.get("identity")
    identity: dict[str, Any] = told if isinstance(told, dict) else {}
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
