"""Print the output of ``hil int8``: the audit's table, the ranking of layers, and the ranges that moved."""

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
"""The least measured gain in SQNR (dB) with which a proposal is recommended."""
MARKS = {"passed": "✓", "warned": "!", "failed": "✗", "inconclusive": "?", "not_run": "–"}
ADVICE = (
    ("int8.calibration_set", "fix the calibration data first: everything else depends on it"),
    ("int8.cache", "calibrate again: remove the folder 'quantized' in the cache folder that hil.toml names"),
    ("int8.repeatable", "calibrate again: the stored calibration differs from what this model and data give now"),
    ("int8.disjoint", "take the calibration data from samples outside the validation data, e.g. from training data"),
    ("int8.ranges", "calibrate on data that resembles the validation data, or try another method"),
    ("int8.drop", "rank the layers with hil int8 sensitivity and keep the worst in float"),
    ("int8.speedup", "INT8 does not pay off here: remove it, or check which layers do not run in INT8"),
)
"""What to do about each check that did not pass. Only the advice on the first of these checks is printed."""


def all_passed(results: Sequence[CheckResult]) -> bool:
    """Return whether every result passed, or was not judged because the check has no limit or is unsupported.

    Return false if ``results`` is empty.
    """
    return bool(results) and all(
        result.verdict is Verdict.PASSED or result.cause in {Cause.NO_LIMIT, Cause.UNSUPPORTED} for result in results
    )


def print_audit(model: str, target: str, results: Sequence[CheckResult]) -> None:
    """Print the checks with their reasons, the tensors that clip most, and the advice to follow first."""
    out = console()
    out.soft_wrap = False
    out.print(Text(f"INT8 audit of {model} on {target}", style="bold"))
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    table.add_column("check", no_wrap=True)
    table.add_column("result", overflow="fold")
    for result in results:
        mark = Text(f"{MARKS[result.verdict.value]} {result.id.removeprefix('int8.')}", style=STYLE[result.verdict])
        table.add_row(mark, Text(printable(result.reason)))
    out.print(table)
    tensors = next((result.details.get("tensors") or [] for result in results if result.id == "int8.ranges"), [])
    if isinstance(tensors, list) and tensors:
        out.print(Text("\nranges that clip most on the validation data", style="bold"))
        out.print(_tensors(tensors))
    bad = {result.id for result in results if result.verdict not in {Verdict.PASSED, Verdict.NOT_RUN}}
    for check, advice in ADVICE:
        if check in bad:
            out.print(Text(f"next: {advice}", style="cyan"))
            break


def _tensors(tensors: Sequence[Any]) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    table.add_column("tensor", no_wrap=True)
    for name in ("clipped", "energy lost", "range", "peak"):
        table.add_column(name, no_wrap=True, justify="right")
    for tensor in tensors[:SHOWN]:
        clipped, lost = (f"{100 * float(tensor[key]):.3g} %" for key in ("clipped", "energy_lost"))
        table.add_row(
            Text(one_line(str(tensor["name"]), NAME)),
            clipped,
            lost,
            f"{float(tensor['range']):.4g}",
            f"{float(tensor['peak']):.4g}",
        )
    return table


def rank_layers(config: Config, model: str, target: str, say: Callable[[str], None]) -> dict[str, Any]:
    """Rank the layers of ``model`` by the noise that INT8 adds in each, on this machine's CPU. ``say`` prints progress.

    Return the fields of ``hil.quantize.sensitivity.Sensitivity`` and the model's task, as JSON values. Raise
    ``UserError`` if the model is not calibrated by pytest-hil.
    """
    from hil.datasets import open_dataset
    from hil.metrics import open_metric
    from hil.onnx_files.external_data import addressed
    from hil.quantize.sensitivity import sensitivity as rank
    from hil.session.unrolled import unrolled
    from hil.session.validation_data import open_validation

    spec = config.model(model, target)
    signature, data = open_validation(config, target, model)
    cache = config.resolve(config.spec.project.cache)
    path = addressed(config.resolve(spec.path), cache / "external_data", signature.inputs)
    if spec.calibration is None or signature.has_qdq or spec.engine is not None:
        raise UserError(f"model {model} is not calibrated by pytest-hil: add a [calibration] table to rank its layers")

    calibration = open_dataset(
        spec.calibration.data,
        config=config,
        model=model,
        signature=signature,
        preprocess=spec.preprocess,
        ranges=spec.ranges,
        where=config.where("models", model, "calibration", "data"),
        samples=None if signature.carry else spec.calibration.samples,
    )
    # Of a model with a state, the layers are ranked by single steps, each with the reference's state.
    calibration = unrolled(path, signature, calibration, cache, model, samples=spec.calibration.samples)
    data = unrolled(path, signature, data, cache, model)
    where = config.where("models", model, "task")
    metric = None
    if spec.task is not None:
        metric = open_metric(
            spec.task, config.root, name=spec.metric, boxes_as=spec.detection, model=model, where=where
        )
    sensitivity = rank(
        path,
        calibration,
        data,
        spec.calibration,
        runtime_record(config.spec.targets[target].runtime if target in config.spec.targets else DEFAULT).qdq_layout,
        metric=metric,
        progress=lambda text: say(f"{model} int8: {text}"),
    )
    ranking: dict[str, Any] = plain({**asdict(sensitivity), "task": spec.task})
    return ranking


def print_ranking(model: str, ranking: dict[str, Any]) -> None:
    """Print the ``SHOWN`` worst layers that ``rank_layers`` returned, those to keep in float, and what that gained."""
    from hil.quantize.sensitivity import sqnr

    out = console()
    out.soft_wrap = False
    out.print(Text(f"\nlayers of {model} by the noise that INT8 adds in each", style="bold"))
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for name in ("node", "op"):
        table.add_column(name, no_wrap=True)
    for name in ("SQNR", "share of noise", "weights"):
        table.add_column(name, no_wrap=True, justify="right")
    total = sum(float(layer["noise"]) for layer in ranking["layers"]) or 1.0
    for layer in ranking["layers"][:SHOWN]:
        noise = float(layer["noise"])
        node = Text(one_line(str(layer["node"]), NAME), style="yellow" if layer["node"] in ranking["keep"] else "")
        table.add_row(node, str(layer["op"]), f"{sqnr(noise):.1f} dB", f"{noise / total:.0%}", f"{layer['weights']:,}")
    out.print(table)
    out.print(Text("\nmeasured on this machine's CPU", style="bold"))
    out.print(_measured(ranking, sqnr))
    if not ranking["kept"]:
        out.print(Text("no proposal: no single layer adds noise, or there is only one layer"))
        return
    names = ", ".join(json.dumps(name) for name in ranking["keep"])
    gain = sqnr(float(ranking["kept"]["noise"])) - sqnr(float(ranking["int8"]["noise"]))
    out.print(Text(f"predicted SQNR with {printable(names)} in float: {_decibel(sqnr(float(ranking['predicted'])))}"))
    if not gain >= WORTH:
        out.print(
            Text(
                f"measured gain: {gain:.1f} dB: the noise is not caused by a few layers, so keep none in float",
                style="yellow",
            )
        )
        return
    out.print(Text(f"to keep them in float, add to [models.{model}.calibration]:", style="cyan"))
    out.print(Text(f"  exclude_nodes = [{printable(names)}]", style="cyan"))


def _measured(ranking: dict[str, Any], sqnr: Callable[[float], float]) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    table.add_column("model", no_wrap=True)
    for name in ("SQNR", "score", "against FP32", "time", "faster"):
        table.add_column(name, no_wrap=True, justify="right")
    fp32 = ranking["fp32"]
    for name, variant in (("FP32", fp32), ("INT8", ranking["int8"]), ("INT8, proposed", ranking["kept"])):
        if variant is None:
            continue
        scored = variant["score"] is not None
        table.add_row(
            name,
            "–" if variant is fp32 else _decibel(sqnr(float(variant["noise"]))),
            f"{variant['score']:.4g}" if scored else "–",
            f"{variant['score'] - fp32['score']:+.3g}" if scored else "–",
            show(variant["seconds"], "s"),
            f"{fp32['seconds'] / variant['seconds']:.2f} x",
        )
    return table


def _decibel(value: float) -> str:
    return "no noise" if math.isinf(value) else f"{value:.1f} dB"


def print_drift(drift: Drift, least: float) -> None:
    """Print the ranges that changed by more than the fraction ``least``, largest change first.

    Then print the tensors that are only in the old or only in the new calibration; of each, at most ``SHOWN``.
    """
    out = console()
    moved = [(name, change) for name, change in drift.moved if abs(change) > least]
    out.print(Text(f"{len(moved)} of {len(drift.moved)} ranges moved by more than {least:.0%}", style="bold"))
    for name, change in moved[:SHOWN]:
        size = f"{change:+.1%}" if math.isfinite(change) else "not comparable"
        out.print(Text(f"  {printable(name)}  {size}", style="yellow"))
    for names, where in ((drift.gone, "only in the old"), (drift.new, "only in the new")):
        if names:
            more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
            out.print(Text(f"{len(names)} {where}: {printable(', '.join(names[:SHOWN]))}{more}", style="red"))


def write_json(path: Path, document: dict[str, Any]) -> None:
    """Write ``document`` as JSON. Raise ``UserError`` if the file cannot be written."""
    try:
        path.write_text(json.dumps(plain(document), indent=1, sort_keys=True, allow_nan=False) + "\n", encoding="utf-8")
    except OSError as error:
        raise UserError(f"--json {path} cannot be written ({error.strerror or error}): name another file") from None
