"""Factory of reports as a run makes them, for the tests of report and gate; reports are frozen, so some are cached."""

from __future__ import annotations

import functools
import hashlib
import math
from typing import Any

from hil.catalogue import KINDS, CheckKind
from hil.config.spec import GateSpec
from hil.gate.gate import seal
from hil.onnx_files.identity import identity_of
from hil.report.schema import ConfigUsed, EngineUsed, Measured, ModelUsed, Report, Run, TargetReport, count
from hil.results import Cause, CheckResult, Evidence, ExecutedOn, Limit, Measurement, Part, Sense, TargetUse, Verdict
from hil.series import digest_of

POLICY = GateSpec(require=("contract.*", "parity.*", "latency.p99", "memory.peak"), evidence="host", warnings=False)
METHOD = {"version": 1, "timed": "host to host", "scenario": "saturated", "batch": 1, "warmup": "0.5 s"}
ENVIRONMENT = {"cpu": "AMD EPYC 9004", "cores": 2, "kernel": "6.1.0", "runtimes": {"onnxruntime": "1.23.2"}}
VALUES: dict[str, tuple[float, float]] = {
    "latency.p50": (0.00081, 0.002),
    "latency.p90": (0.00094, 0.003),
    "latency.p99": (0.00152, 0.005),
    "latency.cold_load": (0.041, 0.5),
    "latency.first_inference": (0.0021, 0.05),
    "fps.sustained": (1181.4, 30.0),
    "fps.slowest_second": (1102.0, 30.0),
    "fps.last_100": (986.0, 30.0),
    "paced.response_p99": (0.0018, 0.033),
    "paced.missed": (0.0, 0.001),
    "paced.streak": (0.0, 2.0),
    "paced.jitter": (0.0002, 0.002),
    "sustained.p99": (0.0016, 0.005),
    "sustained.fps": (1160.0, 30.0),
    "sustained.slowdown": (0.01, 0.05),
    "regression.latency_p50": (0.002, 0.05),
    "regression.latency_p99": (0.011, 0.05),
    "regression.fps": (-0.003, 0.05),
    "regression.memory": (0.0005, 0.05),
    "regression.engine_size": (0.0, 0.01),
    "regression.accuracy": (0.0, 0.01),
    "energy.inference": (0.0123, 0.05),
    "int8.ranges": (0.01, 0.05),
    "int8.speedup": (1.31, 1.05),
    "memory.peak": (71.4 * 2**20, 512 * 2.0**20),
    "memory.model": (11.2 * 2**20, 64 * 2.0**20),
    "memory.system": (0.41, 0.85),
    "memory.engine_size": (312_556.0, 1e6),
    "memory.growth": (812.0, 2.0**20),
    "latency.speedup": (1.4, 1.2),
    "placement.in_precision": (0.97, 0.1),
    "placement.int8_layers": (0.94, 0.8),
    "placement.dla_fallback": (0.0, 0.0),
}
"""The value that a good run measures, and its limit, by check id."""


def digest(*parts: str) -> str:
    """Return a SHA-256 that stands in for that of a file."""
    return hashlib.sha256(" ".join(parts).encode()).hexdigest()


def measurement(check_id: str, value: float, unit: str) -> Measurement:
    """Return a measurement as the checks make it, with an interval if the check has one."""
    interval = check_id.startswith("latency.p") or check_id in ("energy.inference", "int8.speedup", "memory.growth")
    low, high = (value * 0.96, value * 1.05) if interval else (None, None)
    return Measurement(
        value=value,
        unit=unit,
        low=low,
        high=high,
        confidence=0.99 if interval else None,
        n=1 if unit == "B" else 4096,
        method=digest_of(METHOD),
        environment=digest_of(ENVIRONMENT),
    )


def histogram(low: float, high: float, bins: int = 48) -> dict[str, list[float]]:
    """Return a right-skewed histogram, as latencies have."""
    edges = [low + (high - low) * i / bins for i in range(bins + 1)]
    return {
        "edges": edges,
        "counts": [round(900 * math.exp(-((i - 5) ** 2) / 14) + 30 * math.exp(-i / 11)) for i in range(bins)],
    }


def check(kind: CheckKind, model: str, precision: str, **changes: Any) -> CheckResult:
    """Return a passed row of ``kind``; ``changes`` replace its fields."""
    fields: dict[str, Any] = {
        "id": kind.id,
        "model": model,
        "precision": precision,
        "scenario": kind.scenario,
        "required": kind.id.split(".")[0] in ("contract", "parity") or kind.id in ("latency.p99", "memory.peak"),
        "verdict": Verdict.PASSED,
        "reason": "256 of 256 samples agree",
        "evidence": Evidence.HOST,
        "target": TargetUse(requested="cpu", used="cpu"),
        "executed_on": ExecutedOn(kind="cpu", name="AMD EPYC 9004"),
        "engine": digest("engine", model, precision),
    }
    if kind.limit is not None:
        value, limit = VALUES[kind.id]
        value *= 0.72 if precision == "int8" and kind.limit.sense is Sense.AT_MOST else 1.0
        fail_at = None if kind.limit.fail_factor is None else limit * kind.limit.fail_factor
        fields["measurement"] = measurement(kind.id, value, kind.limit.unit)
        fields["limit"] = Limit(
            value=limit, unit=kind.limit.unit, sense=kind.limit.sense, source="hil.toml:31 limits", fail_at=fail_at
        )
        fields["reason"] = "within its limit, with its whole confidence interval"
    if kind.id == "latency.p99":
        fields["details"] = {"histogram": histogram(0.0007, 0.0021), "effective_samples": 4096.0}
    return CheckResult(**{**fields, **changes})


def checks(
    models: tuple[str, ...] = ("digits", "arm"), precisions: tuple[str, ...] = ("fp32", "int8")
) -> tuple[CheckResult, ...]:
    """Return every row of the catalogue that applies, passed."""
    return tuple(
        check(kind, model, precision)
        for model in models
        for precision in precisions
        for kind in KINDS
        if kind.precisions is None or precision in kind.precisions
    )


def engine(model: str, precision: str) -> EngineUsed:
    """Return the engine of one model and precision."""
    return EngineUsed(
        model=model,
        precision=precision,
        runtime="onnxruntime",
        runtime_version="1.23.2",
        digest=digest("engine", model, precision),
        key=digest("key", model, precision),
        size=312_556,
        file=f"engines/{model}-{precision}.onnx",
        build_seconds=0.41,
        cached=False,
        foreign=False,
    )


def model(name: str, *, synthetic: bool = False) -> ModelUsed:
    """Return a model with its data."""
    return ModelUsed(
        name=name,
        path=f"examples/{name}/model.onnx",
        digest=digest("model", name),
        data="synthetic" if synthetic else f"examples/{name}/validation.npz",
        data_digest=digest("data", name),
        samples=360,
        synthetic=synthetic,
        calibration={"data": f"examples/{name}/calibration.npz", "samples": 256, "method": "entropy"},
        reference={"source": "onnxruntime fp32 cpu"},
    )


def consisting_of(report: Report, files: dict[str, str]) -> Report:
    """Return the report with ``files`` (name by role) added to the parts of its first model."""
    first, *others = report.models
    parts = [Part(role="onnx", name=first.path, digest=first.digest, size=1)]
    parts += [Part(role=role, name=name, digest=digest(role), size=len(role)) for role, name in sorted(files.items())]
    whole = first.model_copy(update={"parts": tuple(parts), "identity": identity_of(parts)})
    return report.model_copy(update={"models": (whole, *others)})


def run(**changes: Any) -> Run:
    """Return a finished, clean run of pytest."""
    fields: dict[str, Any] = {
        "id": "2026-11-22-0f3a9c",
        "started": "2026-11-22T10:00:00+00:00",
        "finished": "2026-11-22T10:00:42+00:00",
        "hil_version": "0.1.0",
        "python": "3.11.2",
        "platform": "Linux-6.1.0-x86_64",
        "host": "bench-3",
        "arguments": ("--target=cpu",),
        "pytest_exit_status": 0,
        "commit": hashlib.sha1(b"commit", usedforsecurity=False).hexdigest(),
        "dirty": False,
    }
    return Run(**{**fields, **changes})


def draft(rows: tuple[CheckResult, ...] | None = None, **changes: Any) -> Report:
    """Return an unsealed report of these rows (by default those of a good run)."""
    rows = checks() if rows is None else rows
    pairs = dict.fromkeys((row.model, row.precision) for row in rows if row.engine)
    fields: dict[str, Any] = {
        "status": "incomplete",
        "totals": count(rows),
        "checks": rows,
        "run": run(),
        "config": ConfigUsed(path="hil.toml", digest=digest("hil.toml")),
        "policy": POLICY,
        "target": TargetReport(requested="cpu", used="cpu", kind="local", facts=ENVIRONMENT),
        "measurements": (
            Measured(id="latency.load_cpu", model="digits", precision="fp32", measurement=measurement("x.y", 0.2, "s")),
        ),
        "methods": {digest_of(METHOD): METHOD},
        "environments": {digest_of(ENVIRONMENT): ENVIRONMENT},
        "engines": tuple(engine(*pair) for pair in pairs),
        "models": tuple(model(name) for name in dict.fromkeys(name for name, _ in pairs)),
    }
    return Report(**{**fields, **changes})


@functools.cache
def passed() -> Report:
    """Return a report of both bundled models in which every check passed."""
    return seal(draft())


def with_row(report: Report, check_id: str, **changes: Any) -> Report:
    """Return the draft with the first row of ``check_id`` changed."""
    index = next(i for i, row in enumerate(report.checks) if row.id == check_id)
    row = CheckResult.model_validate({**report.checks[index].model_dump(), **changes})
    rows = (*report.checks[:index], row, *report.checks[index + 1 :])
    return report.model_copy(update={"checks": rows, "totals": count(rows)})


@functools.cache
def failed() -> Report:
    """Return a report with two failures, an inconclusive percentile, a warning and a deselected row."""
    report = draft(run=run(pytest_exit_status=1))
    report = with_row(
        report,
        "latency.p99",
        verdict=Verdict.FAILED,
        measurement=measurement("latency.p99", 0.0068, "s"),
        reason="6.8 ms (from 6.53 ms to 7.14 ms) is not at most 5 ms; slowest node: Conv_4, 3.1 ms of each inference",
        details={"histogram": histogram(0.0031, 0.0079)},
    )
    report = with_row(
        report,
        "parity.outputs",
        verdict=Verdict.FAILED,
        reason="output logits: largest difference 0.31 at sample 17, index [3], tolerance 0.01 (1 of 3600 values)",
    )
    report = with_row(
        report,
        "fps.sustained",
        verdict=Verdict.WARNED,
        measurement=measurement("fps.sustained", 27.4, "1/s"),
        reason="27.4 /s is not at least 30.0 /s (it fails below 24.0 /s)",
    )
    report = with_row(
        report,
        "latency.p90",
        verdict=Verdict.INCONCLUSIVE,
        measurement=measurement("latency.p90", 0.00299, "s"),
        reason="2.99 ms (from 2.87 ms to 3.14 ms) is not clearly at most 3 ms: about 1,400 more samples would do",
    )
    return seal(
        with_row(
            report,
            "parity.repeatable",
            verdict=Verdict.NOT_RUN,
            cause=Cause.DESELECTED,
            evidence=None,
            executed_on=None,
            engine=None,
            reason="its test was deselected",
        )
    )


GPU = {"gpu": "NVIDIA H200", "sm": "9.0", "cuda": "12.8"}
H200 = ExecutedOn(kind="gpu", name="NVIDIA H200", sm="9.0")


def on_board(work: ExecutedOn = H200) -> Report:
    """Return the draft of a good run on a confirmed board; checks of the host ran on the host."""
    use = TargetUse(requested="gpu", used="gpu")
    rows = tuple(
        row.model_copy(
            update={"target": use} | ({} if row.id in ON_HOST else {"evidence": Evidence.DEVICE, "executed_on": work})
        )
        for row in checks()
    )
    facts = {**ENVIRONMENT, "facts": {"onnxruntime": {}, "tensorrt": GPU}}
    target = TargetReport(requested="gpu", used="gpu", kind="local", facts=facts, board="h200")
    report = draft(rows, target=target, policy=POLICY.model_copy(update={"evidence": "device"}))
    ran = tuple(each.model_copy(update={**TENSORRT, "executed_on": work}) for each in report.engines)
    return report.model_copy(update={"engines": ran})


TENSORRT: dict[str, Any] = {
    "runtime": "tensorrt",
    "runtime_version": "8.6.0",
    "log": "[V] Tactic 0x0000000000000000 Time: 0.004\n[W] Using <kernel> & friends\x1b[31m\n[I] Engine generated",
    "about": {
        "timing_cache": "warm",
        "flags": ["FP16", "INT8"],
        "workspace": 2**30,
        "calibration": {"algorithm": "entropy2", "cache": "written", "samples": 256, "scales": {"image": 0.0078}},
        "peak": {"rss": 2**31, "device": 3 * 2**28, "source": "NVML"},
    },
    "trtexec": {
        "command": "trtexec --onnx=model.onnx --saveEngine=model-int8.plan --int8 --fp16",
        "timing": "trtexec --loadEngine=model-int8.plan",
        "differs": ["trtexec feeds random data; we feed the validation data"],
    },
}
"""The fields of a TensorRT engine that differ from those of ``engine()``."""


@functools.cache
def foreign() -> Report:
    """Return a run on a board that judged a foreign engine."""
    report = on_board()
    first = report.engines[0].model_copy(update={"foreign": True, "about": {}, "trtexec": None, "log": ""})
    return seal(report.model_copy(update={"engines": (first, *report.engines[1:])}))


ON_HOST = frozenset(kind.id for kind in KINDS if kind.on_host)
NEEDS_TARGET = frozenset(kind.id for kind in KINDS if kind.needs_target)


@functools.cache
def fallback() -> Report:
    """Return a fallback run: checks that need the board were not run, the others passed on the CPU."""
    use = TargetUse(requested="jetson-orin", used="cpu")
    reason = "orin-3.lab.example does not answer on port 22"
    rows = []
    for row in checks():
        changes: dict[str, Any] = {"target": use, "evidence": Evidence.CPU_FALLBACK}
        if row.id in NEEDS_TARGET:
            why = f"needs jetson-orin, and cpu was used instead: {reason}"
            changes |= {"verdict": Verdict.NOT_RUN, "cause": Cause.FALLBACK, "evidence": None, "measurement": None}
            changes |= {"reason": why, "executed_on": None, "engine": None, "details": {}}
        rows.append(row.model_copy(update=changes))
    target = TargetReport(requested="jetson-orin", used="cpu", kind="local", fallback_reason=reason, facts=ENVIRONMENT)
    return seal(draft(tuple(rows), target=target))


@functools.cache
def large(models: int = 40) -> Report:
    """Return a report of many models in 3 precisions."""
    names = tuple(f"model-{number:02d}" for number in range(models))
    return seal(draft(checks(names, ("fp32", "fp16", "int8"))))
