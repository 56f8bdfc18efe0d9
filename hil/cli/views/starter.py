"""Compose the text of a starter ``hil.toml`` for one ONNX file. Only ``sizes_that_run`` runs the model."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING

from hil.config.checks.cross_checks import MAX_NAME
from hil.config.explain import quoted, written
from hil.text import clean

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from hil.onnx_files.signature import Signature, TensorSpec

SIZES = (1, 8, 16, 32, 64, 128, 224, 256, 320, 416, 512, 640)
"""Sizes tried for dynamic dimensions, in ascending order: powers of two and usual input sizes of vision models."""

TEMPLATE = """\
# How the model is judged. All keys: docs/config.md of pytest-hil, or: hil schema
# Runs without changes:  pytest --pyargs hil.suites --target=cpu

[project]
report = "report"  # folder for report.json and report.html, relative to this file

[targets.cpu]  # this machine; exists even without this table
kind    = "local"
runtime = "onnxruntime"

# The board. Fill in its address and remove the '#', then: pytest --target=jetson-orin
# [targets.jetson-orin]
# kind       = "ssh"
# host       = "192.168.1.20"       # or an alias of ~/.ssh/config
# user       = "jetson"
# runtime    = "tensorrt"
# board      = "agx-orin-64gb"      # compared with the board's own identity
# power_mode = "MAXN"

# The model's own inputs and outputs:
{tensors}
[{model}]
path       = {path}
precisions = ["fp32"]  # then "fp16" and, with the calibration below, "int8"
# Random inputs only show that the model runs: a gate for a robot never accepts them.
# Put real validation data here: an .npz file with arrays {inputs} and the ground truth as "labels",
# a folder of images with preprocess = "package.module:callable", or "package.module:callable".
data       = "synthetic"
# task     = "classification"  # or "regression", or "package.module:callable" for a score of your own
{batch}{shapes}
# The range of random inputs; default for floats: 0 to 1.
# [{model}.ranges]
# {input} = [0.0, 1.0]

# INT8 needs calibration data: from the training set, without any of the validation data.
# [{model}.calibration]
# data    = "calibration.npz"
# samples = 256

# Measurements are judged against these limits; without a limit they are only recorded.
[{model}.limits]
system_memory = "98 %"  # for a desktop machine; remove this line for a board, where the default of 85 % applies
# latency     = {{ p50 = "2 ms", p99 = "5 ms" }}
# fps         = 30
# memory      = "512 MiB"

# How much INT8 may lose.
# [{model}.tolerances.int8]
# top1_drop = "1 %"
# cosine    = 0.99

# What the release pipeline requires of the report: hil gate report/report.json
[gate]
require  = ["contract.*", "parity.*"]  # add "latency.p99", "fps.*", "memory.peak", "int8.*" with their limits
evidence = "host"                      # the CPU is enough; a robot's gate requires "device"
warnings = true                        # random inputs cause a warning: set this to false with real data
"""


def model_name(path: Path) -> str:
    """Return the NAME of ``[models.NAME]`` for the file: its stem, or its folder's name if the stem is ``model``.

    Characters that are not allowed in NAME become ``-``, one for several in a row.
    """
    stem = path.absolute().parent.name if path.stem == "model" else path.stem
    return re.sub(r"[^A-Za-z0-9_.-]+", "-", stem)[:MAX_NAME].strip("-._") or "model"


def starter(signature: Signature, path: str, name: str, sizes: Mapping[str, int]) -> str:
    """Return the text of ``hil.toml``.

    ``path`` is the model's path as it shall stand in the text, ``name`` the NAME of ``[models.NAME]``. ``sizes`` has
    the size of each dynamic dimension by name; without sizes, the text has no table of shapes.
    """
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
    """Return the names of dynamic dimensions other than the batch, in order of appearance."""
    return list(dict.fromkeys(size for spec in signature.inputs for size in spec.sample if isinstance(size, str)))


def sizes_that_run(path: Path, signature: Signature) -> dict[str, int]:
    """Return a size for each dynamic dimension, by name: the smallest of ``SIZES`` with which the model runs.

    All dimensions get the same size. If the model runs with none of ``SIZES``, this is 1. The result is empty if there
    are no dynamic dimensions. Raise ``UserError`` for inputs that cannot be drawn at random.
    """
    import onnxruntime

    from hil.datasets.synthetic import SyntheticDataset

    names = dynamic_sizes(signature)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    for size in SIZES if names else ():
        sized = replace(signature, sizes=dict.fromkeys(names, (size, size, size)))
        data = SyntheticDataset(sized, model=path.stem, count=signature.batch() or 1, ranges={})
        feeds = next(data.batches(signature.batch() or 1)).feeds
        try:
            onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"]).run(None, feeds)
        except Exception:  # noqa: BLE001, S112 - ONNX Runtime has no base class of its errors
            continue
        return dict.fromkeys(names, size)
    return dict.fromkeys(names, 1)


def _shapes(model: str, sizes: Mapping[str, int]) -> str:
    if not sizes:
        return ""
    rows = "".join(f"{written((name,))} = [{size}, {size}, {size}]\n" for name, size in sizes.items())
    comment = "# Sizes of dynamic dimensions that the engine must accept: [min, opt, max]. Replace them with yours."
    return f"\n{comment}\n[{model}.shapes]\n{rows}"


def _tensors(way: str, specs: Sequence[TensorSpec]) -> str:
    return "".join(f"#   {way}  {_printable(str(spec))}\n" for spec in specs)


def _printable(text: str) -> str:
    """Return ``text`` with its line ends escaped, so that it stays on one line of a comment."""
    return clean(text)
