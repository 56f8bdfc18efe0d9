"""Write the report of a fleet: models in three precisions, planned, judged and reported by the product's own code.

The latencies are recorded (``benchmarks/verdicts/traces``) and scaled to each model's size. Clocks, temperature,
throttling, outputs and scores are synthetic: no board was measured. Every third model has a fault, so that the page
contains failures. Ten models are judged; the others are copies of them under other names, each with its own files.
"""

from __future__ import annotations

import hashlib
import shutil
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.verdicts.noise import trace
from hil.advice import advised
from hil.checks import energy, fps, int8, latency, memory, parity
from hil.checks.comparison import Comparison
from hil.checks.verdicts import hold, judged
from hil.config.load import load
from hil.gate.gate import seal
from hil.plan import expand
from hil.report.schema import ConfigUsed, EngineUsed, ModelUsed, Report, Run, TargetReport, count
from hil.report.write_report import finish
from hil.results import CheckResult, Evidence, ExecutedOn, Judgement, Measurement, TargetUse, Verdict
from hil.series import Series, digest_of
from hil.session.gather.timing import histogram
from hil.session.sampling.series_files import Samples

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from hil.config.load import Config
    from hil.results import Row

EXAMPLE = Path(__file__).parents[2] / "examples" / "digits"
PRECISIONS = ("fp32", "fp16", "int8")
KINDS = ("detector", "segmenter", "depth", "grasp", "pose")
JUDGED = 10
HOT = 92
"""Degrees Celsius at which the throttle alert is raised."""
RUN = "fleet-of-forty"
TARGET = "orin-bench"
SECONDS = 24.0
METHOD = {"version": 1, "timed": "host to host", "batch": 1, "feeds": 16, "streams": 1, "cuda_graph": False}
ENVIRONMENT = {"target": TARGET, "runtime": "tensorrt", "identity": {"jetpack": "6.2", "power_mode": "MAXN"}}
FACTS = {
    "identity": {"module": "agx-orin-64gb", "jetpack": "6.2", "l4t": "36.4.3", "power_mode": "MAXN"},
    "memory": {"total": 2**36, "available": 2**35},
}
WORK = ExecutedOn(kind="gpu", name="Orin", sm="8.7")
CONFIG = """
[targets.orin-bench]
kind     = "ssh"
host     = "orin.example"
runtime  = "tensorrt"
evidence = "emulated"

[gate]
require  = ["contract.*", "parity.*", "latency.p99", "fps.*", "memory.peak", "int8.*"]
evidence = "emulated"
"""
MODEL = """
[models.{name}]
path       = "model.onnx"
precisions = ["fp32", "fp16", "int8"]
data       = "validation.npz"
task       = "classification"
calibration = {{ data = "calibration.npz", samples = 256 }}
[models.{name}.limits]
latency       = {{ p50 = "{p50} ms", p90 = "{p90} ms", p99 = "{p99} ms" }}
cold_load     = "5 s"
first_inference = "1 s"
fps           = {fps}
memory        = "{memory} MiB"
energy        = "5 J"
engine_size   = "{engine} MiB"
system_memory = "85 %"
"""


@dataclass(frozen=True)
class Subject:
    """One model in one precision.

    ``wrong`` is its fault: ``slow``, ``hot``, ``off`` (inaccurate) or ``big``; empty without one.
    """

    number: int
    precision: str
    random: np.random.Generator

    @property
    def typical(self) -> float:
        """The median latency in seconds."""
        base = 0.004 * (1 + self.number % 7)
        return base * {"fp32": 1.0, "fp16": 0.62, "int8": 0.41}[self.precision]

    @property
    def wrong(self) -> str:
        """The fault of every third model; it is empty for the others."""
        return ("slow", "hot", "off", "big")[self.number // 3 % 4] if self.number % 3 == 0 else ""

    @property
    def bytes(self) -> float:
        """The peak memory of the process."""
        return (700 if self.wrong == "big" else 220 + 9 * (self.number % 11)) * 2.0**20


def write(folder: Path, models: int) -> Report:
    """Write the report of ``models`` models into ``folder`` and return it."""
    names = [f"{KINDS[number % len(KINDS)]}-{number:02d}" for number in range(models)]
    shutil.rmtree(folder / "samples", ignore_errors=True)  # left from an earlier fleet, whose files would be reused
    for file in ("model.onnx", "validation.npz", "calibration.npz"):  # the config must find them; they are never run
        shutil.copy(EXAMPLE / file, folder / file)
    source = folder / "hil.toml"
    source.write_text(CONFIG + "".join(_config(name, number) for number, name in enumerate(names)), encoding="utf-8")
    config = load(source)
    rows = expand(config, TARGET).rows
    samples = Samples(folder / "samples", RUN)
    subjects = {
        (name, precision): Subject(number % JUDGED, precision, np.random.default_rng(number % JUDGED))
        for number, name in enumerate(names)
        for precision in PRECISIONS
    }
    series = {key: _timed(samples, *key, subject) for key, subject in subjects.items()}
    original = {name: names[number % JUDGED] for number, name in enumerate(names)}
    first = {row.key: _result(row, subjects[row.model, row.precision], series) for row in rows[: _own(rows, names)]}
    checks = tuple(_named(first[row.id, original[row.model], row.precision, row.scenario], row) for row in rows)
    report = seal(advised(_report(checks, names, config)))
    finish(folder, report)
    return report


def _own(rows: Sequence[Row], names: list[str]) -> int:
    judged = set(names[:JUDGED])
    return sum(row.model in judged for row in rows)


def _named(check: CheckResult, row: Row) -> CheckResult:
    """Return a judged model's result as the result of its copy in ``row``."""
    details = {**check.details, **({"samples": _file(row)} if "samples" in check.details else {})}
    limit = None if check.limit is None else (row.limit or check.limit)
    engine = _digest(row.model, row.precision)
    return check.model_copy(update={"model": row.model, "details": details, "limit": limit, "engine": engine})


def _config(name: str, number: int) -> str:
    base = 1000 * Subject(number % JUDGED, "fp32", np.random.default_rng(0)).typical
    rate = round(500 / base)
    numbers = {"p50": base * 1.5, "p90": base * 2, "p99": base * 3}
    shown = {key: f"{value:.2f}" for key, value in numbers.items()}
    return MODEL.format(name=name, fps=rate, memory=512, engine=120, **shown)


def _timed(samples: Samples, name: str, precision: str, subject: Subject) -> Series:
    return samples.once(f"{name}-{precision}-saturated", lambda: _series(subject))


def _series(subject: Subject) -> Series:
    recorded = trace(f"{'digits' if subject.number % 2 else 'arm'}-{'int8' if subject.precision == 'int8' else 'fp32'}")
    n = int(SECONDS / subject.typical)
    at = int(subject.random.integers(0, recorded.size - n)) if n < recorded.size else 0
    latencies = np.resize(recorded[at:], n)
    # The recorded tail, added to a bulk with the spread of a GPU's latencies: a few percent.
    bulk = subject.typical * (1 + 0.02 * subject.random.standard_normal(n))
    tail = (latencies / np.median(recorded) - 1).clip(0, 5) * subject.typical * 0.08
    took = np.maximum(bulk, subject.typical * 0.9) + tail
    if subject.wrong == "slow":
        took *= 2.6
    if subject.wrong == "hot":
        took[2 * n // 3 :] *= 1.4
    start = np.cumsum(took) - took
    window = _telemetry(subject, float(start[-1]))
    return Series(start, took, 1, METHOD, {"windows": [{**window, "n": n}], "looks": 1}, took * 0.9)


def _telemetry(subject: Subject, seconds: float) -> dict[str, Any]:
    t = np.arange(0, seconds, 0.1)
    heat = 52 + (44 if subject.wrong == "hot" else 14) * (1 - np.exp(-t / 3))
    alert = (heat > HOT).astype(int)
    clock = np.where(alert > 0, 918e6, 1300.5e6)
    power = 31 + 6 * subject.random.standard_normal(t.size).clip(-2, 2) / 3
    columns = {
        "clock.gpu": clock,
        "clock.policy0": np.full(t.size, 2201.6e6),
        "clock.emc": np.full(t.size, 3199e6),
        "temperature.gpu-thermal": np.round(heat, 1),
        "power.total": np.round(power, 2),
        "throttle.gpu-throttle-alert": alert,
        "t": np.round(t, 4),
    }
    return {**{key: column.tolist() for key, column in columns.items()}, "interval": 0.1, "taken": int(t.size)}


def _result(row: Row, subject: Subject, series: dict[tuple[str, str], Series]) -> CheckResult:
    judgement = _judge(row, subject, series)
    measurement = judgement.measurement
    if measurement is not None:
        about = {"method": digest_of(METHOD), "environment": digest_of(ENVIRONMENT)}
        measurement = measurement.model_copy(update=about)
    return CheckResult(
        **{name: getattr(row, name) for name in ("id", "model", "precision", "scenario", "required")},
        verdict=judgement.verdict,
        reason=judgement.reason,
        cause=judgement.cause,
        evidence=Evidence.EMULATED,
        target=TargetUse(requested=TARGET, used=TARGET),
        executed_on=WORK,
        measurement=measurement,
        limit=judgement.limit or (row.limit if measurement is not None else None),
        engine=_digest(row.model, row.precision),
        details=judgement.details,
    )


def _judge(row: Row, subject: Subject, series: dict[tuple[str, str], Series]) -> Judgement:
    family, _, name = row.id.partition(".")
    one = series[row.model, row.precision]
    if family in ("latency", "fps", "energy"):
        return _of_time(row, name, one)
    if family == "memory":
        return _of_memory(row, name, subject)
    if row.id in ("int8.speedup", "int8.drop"):
        ratio = name == "speedup"
        return latency.ratio(series[row.model, "fp32"], one, row.limit, 0.99) if ratio else int8.drop(_scores(subject))
    if family == "parity":
        return _of_parity(name, subject)
    if row.limit is None:
        return judged(Verdict.PASSED, f"{subject.number + 3} cases of {row.id} gave the expected result")
    return hold(Measurement(value=row.limit.value, unit=row.limit.unit, n=1), row.limit)


def _of_time(row: Row, name: str, one: Series) -> Judgement:
    rates = {"sustained": fps.sustained, "slowest_second": fps.slowest_second, "last_100": fps.last_100}
    if row.id.startswith("fps."):
        judgement = rates[name](one, row.limit)
    elif name in ("p50", "p90", "p99"):
        judgement = latency.percentile(one, int(name[1:]) / 100, row.limit, 0.99)
    elif row.id.startswith("energy."):
        return energy.inference(one, row.limit, 0.99)
    else:
        return latency.single([0.21, 0.19, 0.2], row.limit)
    details = {**judgement.details, "histogram": histogram(one), "samples": _file(row)}
    if judgement.verdict in (Verdict.FAILED, Verdict.WARNED):
        details["slowest_nodes"] = _nodes(float(one.duration.mean()))
    return judgement.model_copy(update={"details": details})


def _file(row: Row) -> str:
    return f"samples/{row.model}-{row.precision}-saturated.npz"


def _nodes(seconds: float) -> list[dict[str, Any]]:
    shares = (0.31, 0.17, 0.11, 0.08, 0.05, 0.04, 0.03, 0.02)
    names = (f"/backbone/stage{n}/conv{n + 1}/Conv + /backbone/stage{n}/act/Relu" for n in range(len(shares)))
    return [
        {"name": name, "op": "Convolution", "share": s, "seconds": s * seconds}
        for name, s in zip(names, shares, strict=True)
    ]


def _of_memory(row: Row, name: str, subject: Subject) -> Judgement:
    used = subject.bytes * (1.0 if subject.precision == "fp32" else 0.8)
    runs = np.arange(20, 2001, 20)
    rss = (used * (0.96 + 0.04 * (1 - np.exp(-runs / 90)))).astype(np.int64)
    resident = {"runs": runs[::2].tolist(), "rss": rss[::2].tolist()}
    details = {"baseline": 148 * 2.0**20, "resident": resident, "device_memory_size": used * 0.3}
    unseen = memory.hidden(trimmed=True, has_device=False)
    judgements = {
        "peak": lambda: memory.peak(used, row.limit, details),
        "model": lambda: memory.increment(used, 148 * 2.0**20, row.limit),
        "system": lambda: memory.system(used + 9e9, 2.0**36, row.limit),
        "engine_size": lambda: memory.engine_size(_size(subject), row.limit),
        "growth": lambda: memory.growth(runs, rss, row.limit, 0.99, unseen=unseen),
    }
    return judgements[name]()


def _size(subject: Subject) -> float:
    return subject.bytes / 8 / {"fp32": 1, "fp16": 2, "int8": 4}[subject.precision]


def _of_parity(name: str, subject: Subject) -> Judgement:
    if name == "data":
        return parity.data(parity.DataFacts(512, synthetic=False, has_labels=True, task="classification", distinct=512))
    if name == "task":
        return parity.task(_scores(subject), _precision(subject))
    if name == "outputs":
        return _compared(subject).judge()
    answer = [("boxes", np.ones(4, dtype=np.float32))]
    return parity.repeatable([answer, answer, answer])


def _compared(subject: Subject) -> Comparison:
    compared = Comparison(_precision(subject), samples=64)
    noise = {"fp32": 1e-7, "fp16": 3e-4, "int8": 0.02}[subject.precision]
    noise *= 40 if subject.wrong == "off" and subject.precision == "int8" else 1
    random = np.random.default_rng(subject.number)
    ours = {name: random.standard_normal((64, 32)).astype(np.float32) for name in ("boxes", "scores", "embedding")}
    theirs = {
        name: one + np.float32(noise) * random.standard_normal(one.shape, np.float32) for name, one in ours.items()
    }
    compared.update(list(ours.items()), list(theirs.items()), samples=64)
    return compared


def _precision(subject: Subject) -> Any:
    return subject.precision


def _scores(subject: Subject) -> parity.Scores:
    right = np.ones(512)
    right[::37] = 0
    engine = right.copy()
    if subject.wrong == "off" and subject.precision == "int8":
        engine[::9] = 0
    return parity.Scores("top1_drop", right, engine)


def _report(checks: tuple[CheckResult, ...], names: list[str], config: Config) -> Report:
    start = datetime(2026, 11, 22, 10, tzinfo=timezone.utc)
    return Report(
        status="complete",
        totals=count(checks),
        checks=checks,
        run=Run(
            id=RUN,
            started=start.isoformat(),
            finished=(start + timedelta(minutes=71)).isoformat(),
            hil_version="0",
            python="3.11",
            platform="Linux",
            host="bench",
            arguments=(f"--target={TARGET}",),
            pytest_exit_status=1,
        ),
        config=ConfigUsed(path="hil.toml", digest=config.digest),
        policy=config.spec.gate,
        target=TargetReport(requested=TARGET, used=TARGET, kind="ssh", facts=FACTS),
        methods={digest_of(METHOD): METHOD},
        environments={digest_of(ENVIRONMENT): ENVIRONMENT},
        engines=tuple(_engines(names)),
        models=tuple(_models(names)),
    )


def _engines(names: list[str]) -> Iterator[EngineUsed]:
    for number, name in enumerate(names):
        for precision in PRECISIONS:
            yield EngineUsed(
                model=name,
                precision=precision,
                runtime="tensorrt",
                runtime_version="10.3.0",
                digest=_digest(name, precision),
                key=_digest("key", name, precision),
                size=int(_size(Subject(number, precision, np.random.default_rng(0)))),
                file=f"engines/{name}-{precision}.plan",
                build_seconds=41.0,
                cached=False,
                about={"timing_cache": "warm", "flags": [precision.upper()], "workspace": 2**30},
                executed_on=WORK,
            )


def _models(names: list[str]) -> Iterator[ModelUsed]:
    for name in names:
        yield ModelUsed(
            name=name,
            path=f"{name}.onnx",
            digest=_digest(name),
            data=f"{name}.npz",
            data_digest=_digest("data", name),
            samples=512,
            synthetic=False,
            calibration={"data": f"{name}-calibration.npz", "samples": 256, "method": "entropy"},
        )


def _digest(*parts: str) -> str:
    return hashlib.sha256(" ".join(parts).encode()).hexdigest()
