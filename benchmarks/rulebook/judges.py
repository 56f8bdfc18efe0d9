"""The five judges, each through the functions of its command, and their opinions of a report."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any
from unittest import mock

from cryptography.hazmat.primitives.asymmetric import ec

from benchmarks.rulebook import cases
from hil.attestation import KeySigner, attest, dsse, statement, verify
from hil.attestation.keys import signature_by
from hil.cli import gate as hil_gate
from hil.config.load import load
from hil.deploy import refusals
from hil.deploy.report_check import judged_report as may_deploy
from hil.errors import HilError
from hil.gate.demands import Circumstances
from hil.gate.gate import exit_code_of, judge, seal
from hil.gate.rules import rules as rulebook
from hil.report.canonical import as_document, report_digest
from hil.report.schema import Report

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from benchmarks.rulebook.cases import Case
    from hil.gate.rule_outcome import RuleOutcome

JUDGES = ("run", "gate", "verify", "attest", "deploy")
RELEASING = ("verify", "attest", "deploy")
"""The judges that accept no report with guesses, whatever the policy allows."""
ASKED = ("commit asked for", "run asked for", "target asked for")
RULES = (
    *("complete", "target", "totals", "config", "lab", "pytest", "required checks exist", "required checks run"),
    *("required on the target", "verdicts", "warnings", "results", "other tests", "evidence", "data", "power", "state"),
    *("guesses", "clean", "age", "expiry", "signature", *ASKED),
)
ROBOTS = {
    "the robot's limits": "hil.deploy.report_check._of_config",
    "the robot's board": "hil.deploy.refusals.of_robot",
}
"""Rules that only a deployment applies, and the function that returns the reason."""
LATER = frozenset({"age", "expiry", "signature", *ASKED})
"""Rules that depend on who judges and when; a run does not apply them."""
BEFORE = frozenset({("run", "complete"), ("run", "totals"), ("verify", "complete"), ("attest", "complete")})
"""Pairs of a judge and a rule that cannot be tested, because the judge decides them before it applies any rule: a run
counts its rows itself, and an incomplete report is never signed."""
CONFIG = """
[targets.rover]
kind = "ssh"
host = "rover.example"
[targets.rover.deploy]
directory = "/opt/robot"
service = "perception"
health = ["/bin/true"]
max_age = "2000 days"

[models.digits]
path = "digits.onnx"
data = "synthetic"
task = "classification"
precisions = ["fp32", "fp16"]
limits = {{ latency = {{ p99 = "5 ms" }}, memory = "512 MiB" }}
on.rover.limits.latency.p99 = "{p99}"

[models.arm]
path = "arm.onnx"
data = "synthetic"
task = "classification"
precisions = ["fp32", "fp16"]
limits = {{ latency = {{ p99 = "5 ms" }}, memory = "512 MiB" }}

[gate]
"""


@dataclass(frozen=True)
class Opinion:
    """Whether a judge accepted the report; ``asked`` has the rules that it applied, and whether each is met.

    ``why`` is the message if the judge rejected the report before it applied any rule.
    """

    accepted: bool
    asked: dict[str, bool]
    why: str = ""


def needed() -> Iterator[tuple[str, str]]:
    """Yield each pair of a judge and a rule that the judge must apply."""
    for name in JUDGES:
        for rule in (*RULES, *ROBOTS):
            alone = (rule in ASKED and name != "gate") or (rule in ROBOTS and name != "deploy")
            if not alone and not (name == "run" and rule in LATER) and (name, rule) not in BEFORE:
                yield name, rule


def pairs(made: Iterable[Placed]) -> list[tuple[str, str]]:
    """Return the pairs of ``needed`` that at least one of the reports tests."""
    decided = {(name, rule) for placed in made for name in JUDGES for rule in placed.broken(name)}
    return [pair for pair in needed() if pair in decided]


class Workspace:
    """A folder for each case, the key that policies name, and another key."""

    def __init__(self, folder: Path) -> None:
        """Create new keys."""
        self._folder = folder
        self._number = 0
        self.named, self.other = (KeySigner(ec.generate_private_key(ec.SECP256R1())) for _ in range(2))
        self.line = "".join(self.named.public.pem.splitlines()[1:-1])

    def place(self, case: Case) -> Placed:
        """Write the report, its engines, its bundle and the deployer's ``hil.toml``."""
        self._number += 1
        root = self._folder / str(self._number)
        (root / "report" / "engines").mkdir(parents=True)
        draft = case.draft(self.line)
        content = _written(case, draft)
        (root / "report" / "report.json").write_bytes(content)
        for engine in draft.engines:
            (root / "report" / str(engine.file)).write_text(f"engine {engine.model} {engine.precision}")
        for name in ("digits.onnx", "arm.onnx"):
            (root / name).write_bytes(b"model")
        signer = self.named if case.signed else self.other
        placed = Placed(case, root, draft, Report.model_validate_json(content), signer, self.line)
        config = CONFIG.format(p99="2 ms" if case.tighter else "5 ms")
        (root / "hil.toml").write_text(config + "".join(_toml(placed.deployers())), encoding="utf-8")
        placed.sign()
        return placed


def _written(case: Case, draft: Report) -> bytes:
    """Return the bytes of ``report.json``, as the run, an older hil or a run with a weaker rulebook writes them."""
    document = as_document(seal(draft))
    for key, value in case.written.items():
        document[key] = {**document[key], **value} if isinstance(value, dict) else value
    if case.older:
        del document["policy"]["clean"]
    if document["status"] == "complete":
        report = Report.model_validate_json(json.dumps(document))
        made = judge(report, report.policy)
        document |= {"decision": made.status, "exit_code": made.exit_code, "reasons": list(made.reasons)}
    if case.claims:
        document |= {"decision": "PASSED", "exit_code": 0, "reasons": ["all is well"]}
    document["digest"] = report_digest(document)
    return json.dumps(document).encode()


def _toml(policy: dict[str, Any]) -> Iterator[str]:
    for key, value in policy.items():
        if value is not None:
            yield f"{key} = {json.dumps(value)}\n"


@dataclass
class Placed:
    """A case with its files; ``recorded`` is the report as it is read."""

    case: Case
    root: Path
    draft: Report
    recorded: Report
    signer: KeySigner
    line: str
    _expected: dict[str, set[str]] = field(default_factory=dict)

    @property
    def path(self) -> Path:
        """The report's path."""
        return self.root / "report" / "report.json"

    def deployers(self) -> dict[str, Any]:
        """The deployer's policy as plain values."""
        named = {"signed_by": [self.line]} if "signed_by" in self.case.policy else {}
        return {**self.case.policy, **named, **self.case.deployer}

    def sign(self) -> None:
        """Write a bundle without judging the report, as a weaker signer may have done."""
        if self.recorded.status != "complete":
            return
        signed = statement.statement_of(self.recorded, hashlib.sha256(self.path.read_bytes()).hexdigest())
        payload = statement.write(signed)
        text = dsse.write(payload, self.signer.sign(dsse.pae(payload)), self.signer.public)
        (self.path.parent / "report.sigstore.json").write_text(text, encoding="utf-8")

    def broken(self, name: str) -> set[str]:
        """Return the rules that ``name`` must find broken, according to the whole rulebook."""
        if name not in self._expected:
            applicable = {rule for judge_, rule in needed() if judge_ == name}
            broken = {rule.rule for rule in self._by_the_book(name) if not rule.ok}
            broken |= {rule for rule, so in zip(ROBOTS, (self.case.tighter, self.case.elsewhere), strict=True) if so}
            self._expected[name] = broken & applicable
        return self._expected[name]

    def _by_the_book(self, name: str) -> tuple[RuleOutcome, ...]:
        if name == "run":
            report = seal(self.draft)
            return judge(report, report.policy).rules
        policy, asked = self.recorded.policy, self.case.asked if name == "gate" else {}
        release = name in RELEASING
        signer = signature_by(self.signer.public, policy.signed_by)
        around = Circumstances(datetime.now(timezone.utc), release=release, **signer, **asked)
        outcomes = judge(self.recorded, policy, around=around).rules
        if name == "deploy":
            theirs = load(self.root / "hil.toml").spec.gate
            signer = signature_by(self.signer.public, theirs.signed_by)
            around = Circumstances(around.now, release=release, **signer)
            outcomes += judge(self.recorded, theirs, around=around).rules
        return outcomes

    def weakness(self, name: str, opinion: Opinion) -> str:
        """Return why an opinion of ``name`` is weaker than the rulebook; empty if it is not."""
        broken = self.broken(name)
        if opinion.accepted and (broken or (self.case.claims and self.broken("run"))):
            return f"accepts a report that breaks {', '.join(sorted(broken or self.broken('run')))}"
        unnamed = [rule for rule in sorted(broken - set(ROBOTS)) if opinion.asked.get(rule, True)]
        reached = bool(opinion.asked)
        return f"does not name {', '.join(unnamed)}" if reached and unnamed else ""

    def opinion_of(self, name: str, *, without: str = "") -> Opinion:
        """Return the opinion of the judge ``name``; the rule ``without`` is removed from it."""
        asked: dict[str, bool] = {}

        def rules(*arguments: Any, around: Circumstances | None = None, **options: Any) -> Iterator[RuleOutcome]:
            for each in rulebook(*arguments, around=around, **options):
                # Reading checks the recorded decision, without circumstances; that is not this judge's judgement.
                if (around is None) is not (name == "run"):
                    yield each
                elif each.rule != without:
                    asked[each.rule] = asked.get(each.rule, True) and each.ok
                    yield each

        overlook = mock.patch("hil.report.read_report.problems", return_value=())
        with contextlib.ExitStack() as patched:
            patched.enter_context(mock.patch("hil.gate.gate.judge_rules", rules))
            if self.case.unread:
                patched.enter_context(overlook)
            if without in ROBOTS:
                patched.enter_context(mock.patch(ROBOTS[without], return_value=()))
            try:
                accepted = getattr(self, f"_{name}")()
            except HilError as error:
                return Opinion(accepted=False, asked=asked, why=str(error))
        return Opinion(accepted=accepted, asked=asked)

    def _run(self) -> bool:
        return exit_code_of(seal(self.draft), full=True) == 0

    def _gate(self) -> bool:
        with contextlib.redirect_stdout(io.StringIO()):
            return hil_gate.command(self.path, as_json=True, **self.case.asked) == 0  # type: ignore[arg-type]  # options by name

    def _verify(self) -> bool:
        return verify(self.path.parent, keys=[self.signer.public], report=self.path).passed

    def _attest(self) -> bool:
        made = attest(self.path, self.signer, self.root / "attested.json")
        payload = dsse.read(made.read_bytes(), "attested.json").payload
        return statement.parse(payload, "attested.json").predicate.result != "FAILED"

    def _deploy(self) -> bool:
        judged = may_deploy(load(self.root / "hil.toml"), self.path, "rover", datetime.now(timezone.utc))
        robot = {**cases.FACTS, **({"cpu_model": "another"} if self.case.elsewhere else {})}
        return not list(refusals.of_robot(judged.engines, judged.report.target.facts, robot))
