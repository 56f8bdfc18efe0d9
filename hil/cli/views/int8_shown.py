"""What ``hil int8`` shows: the audit's table, the layers' ranking, the ranges that moved."""

from __future__ import annotations

import json
import math
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from rich.table import Table
from rich.text import Text

from hil.checks.verdicts import plain
from hil.cli.views.console import console
from hil.errors import UserError
from hil.report.shown_text import one_line, printable
from hil.report.terminal import STYLE
from hil.results import Cause, Verdict
from hil.runtimes import DEFAULT, runtime_record
from hil.units import show

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from hil.checks.int8_ranges import Drift
    from hil.config.load import Config
    from hil.results import CheckResult

SHOWN = 12
NAME = 30
WORTH = 1.0
"""Decibels that a proposal must have saved when it was measured, to be passed on."""
MARKS = {"passed": "✓", "warned": "!", "failed": "✗", "inconclusive": "?", "not_run": "–"}
ADVICE = (
    ("int8.calibration_set", "mend the calibration data first: all else follows from it"),
    ("int8.cache", "have it calibrated again: remove the folder 'quantized' in the cache that hil.toml names"),
    ("int8.repeatable", "have it calibrated again: what is kept is not what this model and data give"),
    ("int8.disjoint", "draw the calibration data from what validation never sees, e.g. from training data"),
    ("int8.ranges", "calibrate on data like that of validation, or try another method"),
    ("int8.drop", "rank the layers with hil int8 sensitivity, and keep the worst in float"),
    ("int8.speedup", "INT8 is not worth it here: leave it out, or see which layers do not run in it"),
)
"""What to do about a check that did not pass, in the order in which it helps."""


def good(results: Sequence[CheckResult]) -> bool:
    """Whether every check passed; one without a limit has nothing to pass."""
    return bool(results) and all(
        one.verdict is Verdict.PASSED or one.cause in {Cause.NO_LIMIT, Cause.UNSUPPORTED} for one in results
    )


def audit(model: str, target: str, results: Sequence[CheckResult]) -> None:
    """The checks with their reasons, the worst tensors, and what to do first."""
    out = console()
    out.soft_wrap = False
    out.print(Text(f"INT8 audit of {model} on {target}", style="bold"))
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    table.add_column("check", no_wrap=True)
    table.add_column("what was seen", overflow="fold")
    for one in results:
        mark = Text(f"{MARKS[one.verdict.value]} {one.id.removeprefix('int8.')}", style=STYLE[one.verdict])
        table.add_row(mark, Text(printable(one.reason)))
    out.print(table)
    tensors = next((one.details.get("tensors") or [] for one in results if one.id == "int8.ranges"), [])
    if isinstance(tensors, list) and tensors:
        out.print(Text("\nranges that clip most at validation", style="bold"))
        out.print(_tensors(tensors))
    bad = {one.id for one in results if one.verdict not in {Verdict.PASSED, Verdict.NOT_RUN}}
    for check, advice in ADVICE:
        if check in bad:
            out.print(Text(f"next: {advice}", style="cyan"))
            break


def _tensors(tensors: Sequence[Any]) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    table.add_column("tensor", no_wrap=True)
    for name in ("clipped", "energy lost", "range", "peak"):
        table.add_column(name, no_wrap=True, justify="right")
    for one in tensors[:SHOWN]:
        share, lost = (f"{100 * float(one[key]):.3g} %" for key in ("clipped", "energy_lost"))
        table.add_row(
            Text(one_line(str(one["name"]), NAME)),
            share,
            lost,
            f"{float(one['range']):.4g}",
            f"{float(one['peak']):.4g}",
        )
    return table


def ranked(config: Config, model: str, target: str, say: Callable[[str], None]) -> dict[str, Any]:
    """The layers of ``model`` ranked on this machine. Raises ``UserError`` where nothing is calibrated."""
    from hil.datasets import open_dataset
    from hil.metrics import open_metric
    from hil.onnx_files.external_data import addressed
    from hil.onnx_files.signature import read_signature
    from hil.quantize.sensitivity import sensitivity as rank

    spec = config.model(model, target)
    path = addressed(config.resolve(spec.path), config.resolve(config.spec.project.cache) / "external_data")
    signature = read_signature(path)
    if spec.calibration is None or signature.has_qdq or spec.engine is not None:
        raise UserError(
            f"model {model} is not calibrated here: its layers can only be ranked with a [calibration] table"
        )

    def opened(source: str, samples: int | None, *key: str) -> Any:
        return open_dataset(
            source,
            config=config,
            model=model,
            signature=signature,
            preprocess=spec.preprocess,
            ranges=spec.ranges,
            where=config.where("models", model, *key),
            samples=samples,
        )

    data = opened(spec.data, spec.samples, "data")
    where = config.where("models", model, "task")
    metric = None
    if spec.task is not None:
        metric = open_metric(
            spec.task, config.root, name=spec.metric, boxes_as=spec.detection, model=model, where=where
        )
    found = rank(
        path,
        opened(spec.calibration.data, spec.calibration.samples, "calibration", "data"),
        data,
        spec.calibration,
        runtime_record(config.spec.targets[target].runtime if target in config.spec.targets else DEFAULT).qdq_layout,
        metric=metric,
        progress=lambda text: say(f"{model} int8: {text}"),
    )
    told: dict[str, Any] = plain({**asdict(found), "task": spec.task})
    return told


def sensitivity(model: str, found: dict[str, Any]) -> None:
    """The ranking, the proposal, and what it was measured to do."""
    from hil.quantize.sensitivity import sqnr

    out = console()
    out.soft_wrap = False
    out.print(Text(f"\nlayers of {model} by the noise that INT8 adds in each alone", style="bold"))
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for name in ("node", "op"):
        table.add_column(name, no_wrap=True)
    for name in ("SQNR", "share of noise", "weights"):
        table.add_column(name, no_wrap=True, justify="right")
    total = sum(float(one["noise"]) for one in found["layers"]) or 1.0
    for one in found["layers"][:SHOWN]:
        noise = float(one["noise"])
        node = Text(one_line(str(one["node"]), NAME), style="yellow" if one["node"] in found["keep"] else "")
        table.add_row(node, str(one["op"]), f"{sqnr(noise):.1f} dB", f"{noise / total:.0%}", f"{one['weights']:,}")
    out.print(table)
    out.print(Text("\nmeasured on this machine's CPU", style="bold"))
    out.print(_measured(found, sqnr))
    if not found["kept"]:
        out.print(Text("nothing is proposed: no layer alone adds noise, or there is only one"))
        return
    names = ", ".join(json.dumps(one) for one in found["keep"])
    saved = sqnr(float(found["kept"]["noise"])) - sqnr(float(found["int8"]["noise"]))
    out.print(Text(f"predicted with {printable(names)} in float: {_decibel(sqnr(float(found['predicted'])))}"))
    if not saved >= WORTH:
        out.print(
            Text(f"measured, it saves {saved:.1f} dB: the noise is not in single layers, so keep none", style="yellow")
        )
        return
    out.print(Text(f"to keep them, in [models.{model}.calibration]:", style="cyan"))
    out.print(Text(f"  exclude_nodes = [{printable(names)}]", style="cyan"))


def _measured(found: dict[str, Any], sqnr: Callable[[float], float]) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    table.add_column("model", no_wrap=True)
    for name in ("SQNR", "score", "against FP32", "time", "faster"):
        table.add_column(name, no_wrap=True, justify="right")
    first = found["fp32"]
    for name, one in (("FP32", first), ("INT8", found["int8"]), ("INT8, proposed", found["kept"])):
        if one is None:
            continue
        scored = one["score"] is not None
        table.add_row(
            name,
            "–" if one is first else _decibel(sqnr(float(one["noise"]))),
            f"{one['score']:.4g}" if scored else "–",
            f"{one['score'] - first['score']:+.3g}" if scored else "–",
            show(one["seconds"], "s"),
            f"{first['seconds'] / one['seconds']:.2f} x",
        )
    return table


def _decibel(value: float) -> str:
    return "no noise" if math.isinf(value) else f"{value:.1f} dB"


def drifted(found: Drift, least: float) -> None:
    """Tensors whose ranges moved, worst first, and those that only one side has."""
    out = console()
    moved = [(name, change) for name, change in found.moved if abs(change) > least]
    out.print(Text(f"{len(moved)} of {len(found.moved)} ranges moved by more than {least:.0%}", style="bold"))
    for name, change in moved[:SHOWN]:
        told = f"{change:+.1%}" if math.isfinite(change) else "not comparable"
        out.print(Text(f"  {printable(name)}  {told}", style="yellow"))
    for names, what in ((found.gone, "in the old alone"), (found.new, "in the new alone")):
        if names:
            more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
            out.print(Text(f"{len(names)} {what}: {printable(', '.join(names[:SHOWN]))}{more}", style="red"))


def write(path: Path, found: dict[str, Any]) -> None:
    """As JSON. Raises ``UserError`` where it cannot be written."""
    try:
        path.write_text(json.dumps(plain(found), indent=1, sort_keys=True, allow_nan=False) + "\n", encoding="utf-8")
    except OSError as error:
        raise UserError(f"--json {path}: cannot be written: {error.strerror or error}: name another place") from None
