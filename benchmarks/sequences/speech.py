"""Real recurrent models over minutes of audio, in FP32 and INT8: two of Silero's detectors of speech, and DTLN.

``silero`` takes 512 samples a step and carries one state, ``frames`` takes four of these at once and carries the two
states of its LSTM. ``dtln``, which suppresses noise, takes the spectrum of 512 samples each 128 and carries the states
of two LSTMs in one. All are judged by ``pytest --pyargs hil.suites`` on this machine, over recordings of which one
lasts three minutes. What a wrapper adds to a step belongs to the data: the last 64 samples before each 512.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.results.judging.sequences import PRECISIONS
from benchmarks.results.judging.sequences import REAL as MODELS
from tests.zoo import inputs
from tests.zoo.models import EARLIER, NEW
from tests.zoo.packages import installed

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    Arrays = dict[str, NDArray[Any]]

SECONDS = (10.0,) * 9 + (180.0,)
"""The length of each recording for validation."""

CALIBRATION, SAMPLES = (30.0, 30.0, 60.0), 600
"""The length of each recording for calibration, and the number of their steps that are used."""

TOGETHER = 4
"""Frames of a step of ``frames``."""

WINDOW, SHIFT = 512, 128
"""Samples of a spectrum of ``dtln``, and from one to the next."""

PACKAGES = Path(__file__).with_name("packages.txt")
DTLN = "livekit/plugins/dtln/models/model_1.onnx"

SPECTRUM = ("Conv", "Pow", "Pow_1", "Add", "Sqrt")
"""The nodes of the spectrum: ``hil diagnose`` named them, because their values span four decades, too many for INT8."""

FOLDER = "silero_vad/data"
TABLES = """
[models.silero]
path = "{folder}/silero_vad_16k_op15.onnx"
precisions = {precisions}
data = "silero"
[models.silero.inputs.input]
shape = ["batch", 576]
[models.silero.inputs.state]
batch_axis = 1
carry = "stateN"
[models.silero.inputs.sr]
value = 16000
[models.silero.calibration]
data = "silero-calibration"
samples = {samples}
method = "minmax"
exclude_nodes = {silero_spectrum}
[models.silero.limits]
system_memory = "100 %"

[models.frames]
path = "{folder}/silero_vad_16k_sequence.onnx"
precisions = {precisions}
data = "frames"
[models.frames.inputs.input]
batch_axis = "none"
[models.frames.inputs.h]
batch_axis = 1
carry = "hn"
[models.frames.inputs.c]
batch_axis = 1
carry = "cn"
[models.frames.calibration]
data = "frames-calibration"
samples = {samples}
method = "minmax"
exclude_nodes = {frames_spectrum}
[models.frames.limits]
system_memory = "100 %"

[models.dtln]
path = "{dtln}"
precisions = {precisions}
data = "dtln"
[models.dtln.inputs.input_3]
carry = "tf_op_layer_stack_2"
[models.dtln.calibration]
data = "dtln-calibration"
samples = {samples}
method = "minmax"
[models.dtln.limits]
system_memory = "100 %"
"""


def recordings(lengths: Sequence[float], seed: int) -> Iterator[dict[str, Arrays]]:
    """Yield the inputs of each model, of one recording after another, with steps along the first axis.

    ``silero`` takes [576], ``frames`` [4, 576] and ``dtln`` [1, 257] of the same audio.
    """
    for number, seconds in enumerate(lengths):
        audio = inputs.speech(seconds, seed + number)
        single = inputs.frames(audio, NEW, EARLIER)
        steps = len(single) // TOGETHER
        windows = np.lib.stride_tricks.sliding_window_view(audio, WINDOW)[::SHIFT]
        spectra = np.abs(np.fft.rfft(windows)).astype(np.float32)
        yield {
            "silero": {"input": single},
            "frames": {"input": single[: steps * TOGETHER].reshape(steps, TOGETHER, -1)},
            "dtln": {"input_2": spectra[:, None]},
        }


def write(folder: Path, lengths: Sequence[float], seed: int, ending: str = "") -> dict[str, int]:
    """Write a folder for each model, with a file for each recording; return the number of steps of each model."""
    steps = dict.fromkeys(MODELS, 0)
    for number, recording in enumerate(recordings(lengths, seed)):
        for model, arrays in recording.items():
            path = folder / f"{model}{ending}" / f"{number}.npz"
            path.parent.mkdir(exist_ok=True)
            np.savez(path, **arrays)  # type: ignore[arg-type]  # arrays by name
            steps[model] += len(next(iter(arrays.values())))
    return steps


def rows(
    folder: Path, *, lengths: Sequence[float] = SECONDS, precisions: Sequence[str] = PRECISIONS
) -> Iterator[dict[str, Any]]:
    """Yield a row for each check of sequences and ranges, model and precision."""
    steps = write(folder, lengths, 1)
    write(folder, CALIBRATION, 101, "-calibration")
    spectrum = {
        "silero_spectrum": [f"/model/stft/{node}" for node in SPECTRUM] + ["/model/encoder/0/reparam_conv/Conv"],
        "frames_spectrum": [f"/stft/{node}" for node in SPECTRUM] + ["/encoder.0/Conv"],
    }
    table = TABLES.format(
        folder=installed() / FOLDER,
        dtln=installed(PACKAGES) / DTLN,
        samples=SAMPLES,
        precisions=json.dumps(list(precisions)),
        **{name: json.dumps(nodes) for name, nodes in spectrum.items()},
    )
    (folder / "hil.toml").write_text(table)
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "--pyargs", "hil.suites", "--target=cpu", "-q"]
    done = subprocess.run(
        [*command, "-k", "sequence or ranges"],
        cwd=folder,
        env={**os.environ, "XDG_CACHE_HOME": str(folder / "cache")},
        capture_output=True,
        text=True,
        check=False,
    )
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
                "cause": str((row["details"] or {}).get("cause") or (row["details"] or {}).get("diagnosis") or ""),
                "advice": row["advice"],
                "steps": steps[row["model"]],
                "longest": max(lengths),
            }
