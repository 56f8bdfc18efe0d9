"""The text of a starter ``hil.toml`` for one ONNX file; pure, but for the trial of dynamic sizes."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from hil.config.checks.cross_checks import MAX_NAME
from hil.config.explain import quoted, written
from hil.text import clean

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from hil.onnx_files.signature import Signature, TensorSpec

SIZES = (1, 8, 16, 32, 64, 128, 224, 256, 320, 416, 512, 640)
"""Sizes tried for dynamic dimensions, smallest first: powers of two, then what vision models are trained at."""

TEMPLATE = """\
# How the model is judged. Every key: docs/config.md of pytest-hil, or: hil schema
# Runs as it is:  pytest --pyargs hil.suites --target=cpu

[project]
report = "report"  # folder for report.json and report.html, relative to this file

[targets.cpu]  # this machine; also there without being written
kind    = "local"
runtime = "onnxruntime"

# The board. Fill in its address and take the '#' away, then: pytest --target=jetson-orin
# [targets.jetson-orin]
# kind       = "ssh"
# host       = "192.168.1.20"       # or an alias of ~/.ssh/config
# user       = "jetson"
# runtime    = "tensorrt"
# board      = "agx-orin-64gb"      # checked against what the board says it is
# power_mode = "MAXN"

# The model's own inputs and outputs:
{tensors}
[{model}]
path       = {path}
precisions = ["fp32"]  # then "fp16" and, with the calibration below, "int8"
# Random inputs show that the model runs, never that it may be deployed: no gate for a robot takes them.
# Put real validation data here: an .npz file with arrays {inputs} and the truth under "labels",
# a folder of images with preprocess = "package.module:callable", or "package.module:callable".
data       = "synthetic"
# task     = "classification"  # or "regression", or "package.module:callable" for a score of your own
{batch}{shapes}
# What random inputs are drawn from; without it floats lie in 0 to 1.
# [{model}.ranges]
# {input} = [0.0, 1.0]

# INT8 needs data to calibrate with: from the training set, none of it in the validation data.
# [{model}.calibration]
# data    = "calibration.npz"
# samples = 256

# What is measured is held against these; without a limit it is only measured.
[{model}.limits]
system_memory = "98 %"  # this machine is yours, not a robot's: take it out for a board, 85 % holds there
# latency     = {{ p50 = "2 ms", p99 = "5 ms" }}
# fps         = 30
# memory      = "512 MiB"

# What INT8 may cost.
# [{model}.tolerances.int8]
# top1_drop = "1 %"
# cosine    = 0.99

# What the release pipeline asks of the report: hil gate report/report.json
[gate]
require  = ["contract.*", "parity.*"]  # add "latency.p99", "fps.*", "memory.peak", "int8.*" with their limits
evidence = "host"                      # the CPU will do; a robot's gate asks for "device"
warnings = true                        # random inputs are warned of: set it to false with real data
"""


def model_name(path: Path) -> str:
    """A name for ``[models.NAME]`` from the file's name, or its folder's where that only says ``model``.

    What names may not hold becomes ``-``.
    """
    stem = path.absolute().parent.name if path.stem == "model" else path.stem
    return re.sub(r"[^A-Za-z0-9_.-]+", "-", stem)[:MAX_NAME].strip("-._") or "model"


def starter(signature: Signature, path: str, name: str, sizes: Mapping[str, int]) -> str:
    """The text of ``hil.toml``; ``path`` as it is to stand there, ``sizes`` of dynamic dimensions by name."""
    model = written(("models", name))
    batch = signature.batch()
    return TEMPLATE.format(
        model=model,
        path=quoted(path),
        tensors=_tensors("in ", signature.inputs) + _tensors("out", signature.outputs),
        inputs=", ".join(_printable(quoted(spec.name)) for spec in signature.inputs),
        input=_printable(written((signature.inputs[0].name,))),
        batch="" if batch is None else f"batch      = {batch}  # fixed by the model\n",
        shapes=_shapes(model, sizes),
    )


def dynamic_sizes(signature: Signature) -> list[str]:
    """Names of dynamic dimensions other than the batch, in the order in which they appear."""
    return list(dict.fromkeys(size for spec in signature.inputs for size in spec.shape[1:] if isinstance(size, str)))


def sizes_that_run(path: Path, signature: Signature) -> dict[str, int]:
    """The smallest size of ``SIZES`` that ONNX Runtime takes for all dynamic dimensions; empty if there are none.

    Where none runs, 1 is returned for each: what is right only the user knows. Raises ``UserError`` for
    inputs that cannot be drawn at random.
    """
    import onnxruntime

    from hil.datasets.synthetic import SyntheticDataset

    names = dynamic_sizes(signature)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    for size in SIZES if names else ():
        shapes = dict.fromkeys(names, (size, size, size))
        data = SyntheticDataset(signature, model=path.stem, count=signature.batch() or 1, ranges={}, shapes=shapes)
        feeds = next(data.batches(signature.batch() or 1)).inputs
        try:
            onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"]).run(None, feeds)
        except Exception:  # noqa: BLE001, S112 - ONNX Runtime has no root of its errors; whichever it is, try on
            continue
        return dict.fromkeys(names, size)
    return dict.fromkeys(names, 1)


def _shapes(model: str, sizes: Mapping[str, int]) -> str:
    if not sizes:
        return ""
    rows = "".join(f"{written((name,))} = [{size}, {size}, {size}]\n" for name, size in sizes.items())
    comment = "# Sizes of dynamic dimensions that the engine must take: [min, opt, max]. Put in your own."
    return f"\n{comment}\n[{model}.shapes]\n{rows}"


def _tensors(way: str, specs: Sequence[TensorSpec]) -> str:
    return "".join(f"#   {way}  {_printable(str(spec))}\n" for spec in specs)


def _printable(text: str) -> str:
    """Text for a comment, which must stay on its line."""
    return clean(text)
