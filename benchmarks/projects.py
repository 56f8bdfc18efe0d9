"""The projects for running the suites on a GPU: ``hil.toml`` for the exported networks and for the bundled models.

Each model occurs twice: once with INT8 by Q/DQ nodes that the host inserts, and under another name with INT8 by
TensorRT's own calibrator, from the same file and the same data.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

if TYPE_CHECKING:
    from collections.abc import Iterable

TARGET = "gpu"
ROOT = Path(__file__).parent.parent
PARITY_BARS = {"fp32": 1e-5, "tf32": 1e-2, "fp16": 1e-2}
"""Largest error relative to the largest output of ONNX Runtime in FP32, by precision."""

HEAD = """# Written by the benchmarks of pytest-hil.
[targets.{target}]
kind    = "local"
runtime = "tensorrt"
python  = {python}
{board}{store}
[measure]
duration = "1 s"
warmup   = "0.2 s"
budget   = "2 s"
soak     = 500

[gate]
require  = ["contract.*", "parity.outputs", "latency.p99", "memory.peak", "int8.calibration"]
evidence = "{evidence}"
warnings = true
"""

LIMITS = """
[models.{name}.limits]
latency       = {{ p50 = "10 ms", p99 = "50 ms" }}
fps           = 30
memory        = "8 GiB"
system_memory = "98 %"
"""

TOLERANCES = """
[models.{name}.tolerances]
fp32 = {{ max_rel = 1e-5, reason = "the accuracy of TensorRT 8.6 without TF32, with a margin for other kernels" }}
tf32 = {{ max_rel = 1e-2 }}
fp16 = {{ max_rel = 1e-2 }}
"""

INT8 = """
[models.{name}.tolerances.int8]
slice_error = 0.9
max_rel = 0.5
cosine  = 0.9
sqnr_db = 6
reason  = "random weights lose more by rounding than trained ones; this only checks that INT8 ran"
"""

MODEL = """
[models.{name}]
path       = {path}
precisions = {precisions}
data       = {data}

[models.{name}.calibration]
data   = {calibration}
method = "{method}"
route  = "{route}"
"""

FILTER = """
[models.{name}]
path       = {path}
precisions = ["fp32", "fp16", "int8"]
data       = {data}
task       = "regression"
run        = {{ cuda_graph = {graph} }}
{build}
[models.{name}.inputs.estimate]
carry = "next_estimate"

[models.{name}.inputs.memory]
carry = "next_memory"

[models.{name}.calibration]
data          = {calibration}
method        = "minmax"
exclude_nodes = {floating}
"""

DETECTOR = """
[models.detector]
path       = "detector.onnx"
precisions = ["fp32", "tf32", "fp16", "int8"]
data       = "detector-validation.npz"
{build}
[models.detector.inputs.images]
shape = [1, 3, 320, 320]

[models.detector.detection]
layout = "channels-first"
boxes  = "centers"
nms    = 0.65

[models.detector.outputs.output0]
kind = "detection"

[models.detector.calibration]
data          = "detector-calibration.npz"
method        = "percentile"
exclude_nodes = {floating}
"""
HEADS = [f"/model.22/cv{branch}.{scale}/cv{branch}.{scale}.2/Conv" for branch in (2, 3) for scale in range(3)]
"""The last layers of the detector's boxes and scores, which ``hil init`` proposes to keep in floating point."""

LEVEL = "build      = {{ optimization_level = {level} }}\n"

BUNDLED = {"digits": "classification", "arm": "regression"}
TASK = {
    "digits": 'top1_drop = "2 %"\nslice_error = 0.5\ncosine = 0.98\nsqnr_db = 10\nreason = "one digit in fifty"',
    "arm": 'error_increase = "60 %"\nslice_error = 0.5\nsqnr_db = 10\nreason = "10.5 mm instead of 7.9 on the CPU too"',
}
METHODS = {"resnet50": "entropy", "mobilenet": "minmax", "encoder": "minmax", "digits": "entropy", "arm": "minmax"}
EXPLICIT_METHODS = {**METHODS, "resnet50": "minmax"}  # entropy on the host needs a histogram of every activation
FULL = ("fp32", "tf32", "fp16", "int8")


def head(python: str, board: str | None, store: Path | None) -> str:
    """Return ``[targets.gpu]``, short measurements and a gate; with ``board`` the gate requires device evidence."""
    return HEAD.format(
        target=TARGET,
        python=json.dumps(python),
        board="" if board is None else f"board   = {json.dumps(board)}\n",
        store="" if store is None else f"store   = {json.dumps(str(store))}\n",
        evidence="host" if board is None else "device",
    )


def networks_project(  # noqa: PLR0913, PLR0917 - a target and its models, in the order of the file
    folder: Path,
    python: str,
    board: str | None,
    names: Iterable[str],
    store: Path | None = None,
    level: int | None = None,
) -> Path:
    """Write ``hil.toml`` for networks that ``benchmarks.networks`` exported into ``folder``, and return its path.

    ``level`` is TensorRT's optimization level, 0 to 5; by default TensorRT's own default.
    """
    build = "" if level is None else LEVEL.format(level=level)
    parts = [head(python, board, store)]
    for name in names:
        files = (f"{name}.onnx", f"{name}-validation.npz", f"{name}-calibration.npz")
        for twin, precisions, route in ((name, FULL, "explicit"), (f"{name}-implicit", ("int8",), "implicit")):
            table = _model(twin, name, files, precisions, route).replace("\n\n[models", f"\n{build}\n[models", 1)
            parts += [table, LIMITS.format(name=twin), INT8.format(name=twin)]
            if route == "explicit":
                parts.append(TOLERANCES.format(name=twin))
    return _write(folder, parts)


def bundled_project(  # noqa: PLR0913, PLR0917 - as above
    folder: Path,
    python: str,
    board: str | None,
    store: Path | None = None,
    level: int | None = None,
    names: Iterable[str] = tuple(BUNDLED),
) -> Path:
    """Write ``hil.toml`` for models of ``examples/``, whose files stay in place, and return its path."""
    build = "" if level is None else LEVEL.format(level=level)
    parts = [head(python, board, store)]
    for name in names:
        task = BUNDLED[name]
        place = ROOT / "examples" / name
        files = tuple(str(place / file) for file in ("model.onnx", "validation.npz", "calibration.npz"))
        for twin, precisions, route in ((name, FULL, "explicit"), (f"{name}-implicit", ("int8",), "implicit")):
            extra = f'task       = "{task}"\nshapes     = {{ batch = [1, 1, 8] }}\n' + build
            parts += [
                _model(twin, name, files, precisions, route).replace("\n\n[models", f"\n{extra}\n[models", 1),
                LIMITS.format(name=twin),
                f"\n[models.{twin}.tolerances.int8]\n{TASK[name]}\n",
            ]
            if route == "explicit":
                parts.append(TOLERANCES.format(name=twin))
    return _write(folder, parts)


def filter_project(
    folder: Path, python: str, board: str | None, store: Path | None = None, level: int | None = None
) -> Path:
    """Write ``hil.toml`` for ``examples/filter`` twice, as ``filter`` and with CUDA graphs as ``filter-graph``."""
    place = ROOT / "examples" / "filter"
    declared = tomllib.loads((place / "hil.toml").read_text(encoding="utf-8"))["models"]["filter"]
    parts = [head(python, board, store).replace("parity.outputs", "sequence.*")]
    for name, graph in (("filter", "false"), ("filter-graph", "true")):
        text = FILTER.format(
            name=name,
            path=json.dumps(str(place / "model.onnx")),
            data=json.dumps(str(place / "validation.npz")),
            calibration=json.dumps(str(place / "calibration.npz")),
            floating=json.dumps(declared["calibration"]["exclude_nodes"]),
            graph=graph,
            build="" if level is None else LEVEL.format(level=level),
        )
        parts += [text, LIMITS.format(name=name)]
    return _write(folder, parts)


def detector_project(
    folder: Path, python: str, board: str | None, store: Path | None = None, level: int | None = None
) -> Path:
    """Write ``hil.toml`` for ``detector.onnx`` and its data in ``folder``, and return its path."""
    build = "" if level is None else LEVEL.format(level=level)
    text = DETECTOR.format(floating=json.dumps([*HEADS, "/model.22/dfl/conv/Conv"]), build=build)
    return _write(folder, [head(python, board, store), text, LIMITS.format(name="detector")])


def _model(twin: str, name: str, files: tuple[str, ...], precisions: tuple[str, ...], route: str) -> str:
    path, data, calibration = (json.dumps(file) for file in files)
    method = (EXPLICIT_METHODS if route == "explicit" else METHODS)[name]
    return MODEL.format(
        name=twin,
        path=path,
        precisions=json.dumps(precisions),
        data=data,
        calibration=calibration,
        method=method,
        route=route,
    )


def _write(folder: Path, parts: list[str]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "hil.toml"
    path.write_text("".join(parts), encoding="utf-8")
    return path
