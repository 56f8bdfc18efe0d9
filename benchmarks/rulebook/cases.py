"""Random reports with faults: what the run recorded, what is true of it later, and who deploys it."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any, Literal

from hil.catalogue import KINDS
from hil.checks.tolerances import in_force
from hil.config.policy import named_by
from hil.config.spec import GateSpec
from hil.report.schema import ConfigUsed, Measured, Rejected, Report, TargetReport, count
from hil.results import Cause, CheckResult, Evidence, Verdict
from hil.session.amendments.expiry import TOLERATED
from tests.report import sample

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Iterator

KEPT = ("contract", "parity", "property", "latency.p99", "memory.peak", "memory.system", "memory.growth")
"""The checks that the deployer's ``hil.toml`` plans for its models in FP32 and FP16."""
GONE: dict[str, Any] = {
    **dict.fromkeys(("evidence", "executed_on", "engine", "measurement")),
    "verdict": Verdict.NOT_RUN,
    "details": {},
}
FACTS = {**sample.ENVIRONMENT, "machine": "x86_64", "cpu_model": "AMD EPYC 9004"}
CONTRACT = {"power_mode": "MAXN", "clocks": "locked", "clients_declared": True}
OTHER = "0" * 40
PRECISIONS: tuple[Literal["fp32", "fp16"], ...] = ("fp32", "fp16")


@dataclass
class Case:
    """A report to be judged.

    Attributes:
        faults: the names of its faults.
        policy: the run's policy as plain values; ``deployer`` is what the deployer's ``hil.toml`` adds to it.
        rows, run, extra: rows by id, model and precision; facts of the run; fields of the report.
        signed: whether it is signed with the key that the policies name, rather than with another one.
        claims: it records PASSED whatever its rows are, as a run with a weaker rulebook would have done.
        older: it has the format from before policies had ``clean``.
        asked: the commit, run or target that ``hil gate`` requires, if any.
        tighter: the robot has a stricter limit than the run; ``elsewhere``: the robot is not the judged machine.
        unread: the reader ignores contradictions in the report, so that only the rule can reject it.
    """

    faults: tuple[str, ...]
    policy: dict[str, Any]
    rows: dict[tuple[str, str, str], CheckResult]
    run: dict[str, Any]
    extra: dict[str, Any] = field(default_factory=dict)
    deployer: dict[str, Any] = field(default_factory=dict)
    signed: bool = True
    claims: bool = False
    older: bool = False
    asked: dict[str, str] = field(default_factory=dict)
    tighter: bool = False
    elsewhere: bool = False
    unread: bool = False
    written: dict[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        return " + ".join(self.faults) or "healthy"

    def change(self, check_id: str, **changes: Any) -> None:
        """Change the first row of a check."""
        key = next(key for key in self.rows if key[0] == check_id)
        self.rows[key] = CheckResult.model_validate({**self.rows[key].model_dump(), **changes})

    def draft(self, signed_by: str) -> Report:
        """Return the report before it is sealed; ``signed_by`` is the key that policies name."""
        policy = spec({**self.policy, **({"signed_by": [signed_by]} if "signed_by" in self.policy else {})})
        rows = tuple(
            row.model_copy(update={"required": named_by(policy.require, row.id, row.model, row.precision)})
            for row in self.rows.values()
        )
        made = sample.draft(rows, policy=policy, run=sample.run(**self.run), totals=count(rows), **self.extra)
        plans = [
            each.model_copy(update={"file": f"engines/{each.model}-{each.precision}.plan"}) for each in made.engines
        ]
        return made.model_copy(update={"engines": tuple(plans)})


def spec(values: dict[str, Any]) -> GateSpec:
    """Return a policy from plain values."""
    return GateSpec.model_validate(values, strict=False)


def draw(rng: random.Random, number: int) -> Iterator[Case]:
    """Yield ``number`` random cases, first with one fault each; later ones may have a second fault or claim PASSED."""
    names = [*FAULTS, "", ""]
    for index in range(number):
        chosen = [names[index % len(names)]]
        later = index >= len(names)
        if later and rng.random() < 1 / 3:
            chosen.append(rng.choice(list(FAULTS)))
        chosen = [name for name in dict.fromkeys(chosen) if name]
        if len(set(chosen) & REPLACING) > 1:
            chosen.pop()
        case = _healthy(rng, tuple(sorted(chosen, key=list(FAULTS).index)))
        for name in case.faults:
            FAULTS[name](rng, case)
        case.claims = later and not case.unread and rng.random() < 1 / 4
        yield case


def _healthy(rng: random.Random, faults: tuple[str, ...]) -> Case:
    kinds = [kind for kind in KINDS if kind.id.startswith(KEPT) and not kind.needs_node]
    rows = [
        sample.check(kind, model, precision, details=_details(kind.id, precision))
        for model in ("digits", "arm")
        for precision in PRECISIONS
        for kind in kinds
    ]
    policy: dict[str, Any] = {
        "require": rng.choice(
            [["*"], ["contract.*", "latency.p99"], ["latency.p99", "memory.peak * fp32", "parity.*"]]
        ),
        "evidence": "host",
        "warnings": rng.random() < 1 / 2,
        "clean": rng.choice([None, True, False]),
    }
    more = {"max_age": "7 days", "detects": 0.5, "signed_by": [], "state": ["power_mode"]}
    policy |= {key: value for key, value in more.items() if rng.random() < 1 / 3}
    age = timedelta(hours=rng.uniform(0, 100))
    run = {"finished": (datetime.now(timezone.utc) - age).isoformat(), "id": f"run-{rng.randrange(2**32):08x}"}
    target = TargetReport(requested="cpu", used="cpu", kind="local", facts=FACTS, contract=CONTRACT)
    return Case(faults, policy, {(r.id, r.model, r.precision): r for r in rows}, run, {"target": target})


def _details(check_id: str, precision: Literal["fp32", "fp16"]) -> dict[str, Any]:
    return {"tolerances": in_force(precision, None, {"scores": "float32"})} if check_id in TOLERATED else {}


def _verdict(rng: random.Random, case: Case) -> None:
    case.change("parity.outputs", verdict=rng.choice([Verdict.FAILED, Verdict.INCONCLUSIVE]), reason="0.3 off")
    case.run["pytest_exit_status"] = 1


def _not_run(rng: random.Random, case: Case) -> None:
    causes = [Cause.DESELECTED, Cause.NO_RESULT, Cause.CRASHED, Cause.NO_LIMIT]
    case.change("latency.p99", **GONE, cause=rng.choice(causes), reason="no result")
    case.policy["require"] = [*case.policy["require"], "latency.p99"]


def _unlimited(rng: random.Random, case: Case) -> None:
    """One model lacks a limit, so its row is only measured."""
    row = case.rows.pop(("latency.p99", "arm", rng.choice(PRECISIONS)))
    assert row.measurement is not None  # noqa: S101 - the sample's has one
    measured = Measured(id=row.id, model=row.model, precision=row.precision, measurement=row.measurement)
    case.extra["measurements"] = (measured,)
    strict = {"require": [*case.policy["require"], "latency.p99"]}
    if rng.random() < 1 / 2:
        case.deployer |= strict  # only the deployer requires it by its name
    case.policy |= strict


def _nothing(rng: random.Random, case: Case) -> None:
    case.policy["require"] = [
        *case.policy["require"],
        rng.choice(["vision.*", "latency.p42", "parity.outputs segmenter"]),
    ]


def _warned(_: random.Random, case: Case) -> None:
    case.change("contract.shapes", verdict=Verdict.WARNED, reason="few shapes")
    case.policy["warnings"] = False


def _rejected(_: random.Random, case: Case) -> None:
    case.extra["rejected"] = (Rejected(id="latency.p98", model="digits", precision="fp32", reason="not planned"),)


def _others(rng: random.Random, case: Case) -> None:
    case.run |= {"other_tests_failed": rng.choice([0, 1, 3]), "pytest_exit_status": 1}


def _ended(key: str) -> Callable[[random.Random, Case], None]:
    def ended(_: random.Random, case: Case) -> None:
        case.run[key] = "no answer"

    return ended


def _pytest(rng: random.Random, case: Case) -> None:
    case.run["pytest_exit_status"] = rng.choice([2, 3, 4, 5, 6])


def _fallback(_: random.Random, case: Case) -> None:
    use = {"requested": "rover", "used": "cpu"}
    for key, row in case.rows.items():
        changes: dict[str, Any] = {"target": use}
        if row.id in sample.NEEDS_TARGET or row.verdict is Verdict.NOT_RUN:
            changes |= {**GONE, "cause": Cause.FALLBACK, "reason": "needs rover"}
        else:
            changes["evidence"] = Evidence.CPU_FALLBACK
        case.rows[key] = CheckResult.model_validate({**row.model_dump(), **changes})
    old = case.extra["target"]
    case.extra["target"] = old.model_copy(update={**use, "fallback_reason": "rover does not answer"})
    case.policy["require"] = [*case.policy["require"], "latency.p99"]


def _evidence(rng: random.Random, case: Case) -> None:
    case.policy["evidence"] = rng.choice(["emulated", "device"])


def _synthetic(_: random.Random, case: Case) -> None:
    case.extra["models"] = (sample.model("digits", synthetic=True), sample.model("arm"))
    case.policy["warnings"] = False


def _guessed(rng: random.Random, case: Case) -> None:
    case.extra["config"] = ConfigUsed(path="hil.toml", digest=sample.digest("hil.toml"), guessed={"arm": ("task",)})
    case.policy["warnings"] = rng.random() < 1 / 2


def _blind(rng: random.Random, case: Case) -> None:
    (case.deployer if rng.random() < 1 / 4 else case.policy)["detects"] = 0.001


def _state(_: random.Random, case: Case) -> None:
    case.policy["state"] = ["power_mode", "free_memory"]


def _dirty(rng: random.Random, case: Case) -> None:
    case.run |= rng.choice(
        [{"dirty": True, "changed": ("hil.toml",)}, {"dirty": None}, {"commit": None, "dirty": None}]
    )
    case.policy["clean"] = True


def _older_dirty(_: random.Random, case: Case) -> None:
    """A policy written before ``clean`` existed: evidence of a device, and a tree with changes."""
    case.run["dirty"] = True
    case.policy |= {"evidence": "device", "clean": None}
    case.older = True


def _old(rng: random.Random, case: Case) -> None:
    age = timedelta(days=rng.uniform(7.1, 400))
    case.run["finished"] = rng.choice([(datetime.now(timezone.utc) - age).isoformat(), None, "yesterday"])
    case.policy["max_age"] = "7 days"


def _expired(rng: random.Random, case: Case) -> None:
    day = (datetime.now(timezone.utc) - timedelta(days=rng.randint(1, 400))).date().isoformat()
    row = next(row for row in case.rows.values() if row.id == "memory.peak")
    if rng.random() < 1 / 2 and row.limit is not None:
        case.change("memory.peak", limit={**row.limit.model_dump(), "expires": day})
    else:
        tolerance = {"tolerance_given": {"reason": "as agreed", "expires": day}}
        case.change("parity.task", details={**_details("parity.task", "fp32"), **tolerance})


def _signed(_: random.Random, case: Case) -> None:
    case.policy["signed_by"] = []
    case.signed = False


def _asked(key: str) -> Callable[[random.Random, Case], None]:
    def asked(_: random.Random, case: Case) -> None:
        case.asked[key] = OTHER if key == "commit" else "another"

    return asked


def _robot(key: str) -> Callable[[random.Random, Case], None]:
    def robot(_: random.Random, case: Case) -> None:
        setattr(case, key, True)

    return robot


def _totals(_: random.Random, case: Case) -> None:
    case.written = {"totals": {"planned": 1}}
    case.unread = True


def _incomplete(_: random.Random, case: Case) -> None:
    case.written = {"status": "incomplete", "decision": None, "exit_code": None, "reasons": []}
    case.unread = True


FAULTS: dict[str, Callable[[random.Random, Case], None]] = {
    "a verdict": _verdict,
    "not run": _not_run,
    "no limit": _unlimited,
    "nothing matches": _nothing,
    "a warning": _warned,
    "rejected": _rejected,
    "other tests": _others,
    "user error": _ended("user_error"),
    "lab error": _ended("lab_error"),
    "pytest": _pytest,
    "evidence": _evidence,
    "synthetic": _synthetic,
    "guessed": _guessed,
    "blind": _blind,
    "state": _state,
    "dirty": _dirty,
    "older and dirty": _older_dirty,
    "old": _old,
    "expired": _expired,
    "signature": _signed,
    "another commit": _asked("commit"),
    "another run": _asked("run"),
    "another target": _asked("target"),
    "a tighter limit": _robot("tighter"),
    "another board": _robot("elsewhere"),
    "fallback": _fallback,
    "totals": _totals,
    "incomplete": _incomplete,
}
REPLACING = frozenset({"totals", "incomplete"})
