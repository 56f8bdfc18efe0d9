"""A config with every table, and a folder with the files that it names."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

EXAMPLE = """\
[project]
report  = "report"                               # folder, relative to this file
history = "sqlite:///.hil/history.db"

[targets.cpu]                                    # also there without being written
kind    = "local"
runtime = "onnxruntime"

[targets.jetson-orin]
kind       = "ssh"                               # local | ssh | pool | labgrid
host       = "orin-3.lab.example"                # or an alias of ~/.ssh/config
user       = "hil"
runtime    = "tensorrt"
board      = "agx-orin-64gb"                     # checked against the probe
power_mode = "MAXN"
clocks     = "as-deployed"                       # or locked
python     = "/usr/bin/python3"

[models.digits]
path       = "examples/digits/model.onnx"
precisions = ["fp32", "fp16", "int8"]            # what the runtime cannot do is not_run with the reason
data       = "examples/digits/validation.npz"    # arrays named after the inputs; truth under "labels"
task       = "classification"                    # or regression, detection, segmentation, "package.module:callable"

[models.digits.calibration]
data    = "examples/digits/calibration.npz"
samples = 256
method  = "entropy"                              # entropy | minmax | percentile
route   = "explicit"                             # explicit (Q/DQ) | implicit (TensorRT calibrator, 8 to 10)

[models.digits.limits]
latency       = { p50 = "2 ms", p99 = "5 ms" }
fps           = 30
memory        = "512 MiB"
system_memory = "85 %"

[models.digits.tolerances.int8]
top1_drop = "1 %"
cosine    = 0.99

[models.digits.on.jetson-nano.limits]            # what differs on one target
fps = 15

[gate]
require  = ["contract.*", "parity.*", "latency.p99", "memory.peak", "int8.*"]   # patterns; "id model precision" narrows
evidence = "device"                              # or "emulated", "host"
warnings = false
"""
FILES = ("model.onnx", "validation.npz", "calibration.npz")


def project(folder: Path, text: str = EXAMPLE) -> Path:
    """Write ``hil.toml`` and empty files for the paths in it; return the config's path."""
    digits = folder / "examples" / "digits"
    digits.mkdir(parents=True, exist_ok=True)
    for name in FILES:
        (digits / name).touch()
    path = folder / "hil.toml"
    path.write_bytes(text.encode())
    return path
