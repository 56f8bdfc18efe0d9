"""Real recurrent models over minutes of audio: two exports of Silero's detector of speech, in FP32 and INT8.

``silero`` takes 512 samples a step and carries one state, ``frames`` takes four of these at once and carries the two
states of its LSTM. Both are judged by ``pytest --pyargs hil.suites`` on this machine. What a wrapper adds to a step
belongs to the data: the last 64 samples before each 512.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

import numpy as np

from tests.zoo import inputs
from tests.zoo.models import EARLIER, NEW
from tests.zoo.packages import installed

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    Arrays = dict[str, NDArray[Any]]

SEQUENCES, SECONDS, CALIBRATION = 6, 60.0, 2
TOGETHER = 4
"""Frames of a step of ``frames``."""

SPECTRUM = ("Conv", "Pow", "Pow_1", "Add", "Sqrt")
"""The nodes of the spectrum, whose values span four decades: eight bits do not hold them, as ``hil diagnose`` found."""

FOLDER = "silero_vad/data"
TABLES = """
[models.silero]
path = "{folder}/silero_vad_16k_op15.onnx"
precisions = {precisions}
data = "silero.npz"
[models.silero.inputs.input]
shape = ["batch", 576]
[models.silero.inputs.state]
batch_axis = 1
carry = "stateN"
[models.silero.inputs.sr]
value = 16000
[models.silero.calibration]
data = "silero-calibration.npz"
method = "minmax"
exclude_nodes = {silero_spectrum}
[models.silero.limits]
system_memory = "100 %"

[models.frames]
path = "{folder}/silero_vad_16k_sequence.onnx"
precisions = {precisions}
data = "frames.npz"
[models.frames.inputs.input]
batch_axis = "none"
[models.frames.inputs.h]
batch_axis = 1
carry = "hn"
[models.frames.inputs.c]
batch_axis = 1
carry = "cn"
[models.frames.calibration]
data = "frames-calibration.npz"
method = "minmax"
exclude_nodes = {frames_spectrum}
[models.frames.limits]
system_memory = "100 %"
"""


def data(seconds: float, seed: int, count: int) -> dict[str, Arrays]:
    """Return the inputs of both models: ``input`` (count, steps, 576), and (count, steps, 4, 576) of the same audio."""
    audio = [inputs.speech(seconds, seed + number) for number in range(count)]
    single = np.stack([inputs.frames(one, NEW, EARLIER) for one in audio])
    steps = single.shape[1] // TOGETHER
    several = single[:, : steps * TOGETHER].reshape(count, steps, TOGETHER, -1)
    return {"silero": {"input": single}, "frames": {"input": several}}


def rows(
    folder: Path, *, seconds: float = SECONDS, precisions: Sequence[str] = ("fp32", "int8")
) -> Iterator[dict[str, Any]]:
    """Yield a row for each check of sequences and ranges, model and precision."""
    arrays = data(seconds, 1, SEQUENCES)
    arrays |= {f"{name}-calibration": one for name, one in data(seconds, 101, CALIBRATION).items()}
    for name, one in arrays.items():
        np.savez(folder / f"{name}.npz", **one)  # type: ignore[arg-type]  # arrays by name
    spectrum = {
        "silero_spectrum": [f"/model/stft/{node}" for node in SPECTRUM] + ["/model/encoder/0/reparam_conv/Conv"],
        "frames_spectrum": [f"/stft/{node}" for node in SPECTRUM] + ["/encoder.0/Conv"],
    }
    table = TABLES.format(
        folder=installed() / FOLDER,
        precisions=json.dumps(list(precisions)),
        **{name: json.dumps(nodes) for name, nodes in spectrum.items()},
    )
    (folder / "hil.toml").write_text(table)
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "--pyargs", "hil.suites", "--target=cpu", "-q"]
    start = time.perf_counter()
    done = subprocess.run(
        [*command, "-k", "sequence or ranges"],
        cwd=folder,
        env={**os.environ, "XDG_CACHE_HOME": str(folder / "cache")},
        capture_output=True,
        text=True,
        check=False,
    )
    took = time.perf_counter() - start
    report = folder / "report" / "partial" / "report.json"  # -k leaves rows out
    if not report.exists():
        raise SystemExit(done.stdout + done.stderr)
    for row in json.loads(report.read_text())["checks"]:
        if row["id"].startswith("sequence.") or row["id"] == "int8.ranges":
            yield {
                "part": "speech",
                "model": row["model"],
                "precision": row["precision"],
                "check": row["id"],
                "verdict": row["verdict"],
                "reason": row["reason"],
                "steps": arrays[row["model"]]["input"].shape[1],
                "seconds": took,
            }
