"""Polygraphy's comparison against ours: same models, same data, whole processes, both references computed anew.

Polygraphy runs through its Python API in its fastest form: one process, both runners, inputs from the ``.npz`` file.
Ours is ``hil parity``. The floor is ONNX Runtime alone: a script that runs both models on the same data one after the
other and compares nothing. Processes alternate; each side's fastest time and largest memory peak count.
"""

from __future__ import annotations

import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from benchmarks.parity.graphs import MAKERS, ROOT
from hil.quantize import quantize

THEIRS = """
import sys
import numpy as np
import onnxruntime
from polygraphy.backend.onnxrt import OnnxrtRunner
from polygraphy.comparator import Comparator, CompareFunc

reference, engine, data = sys.argv[1:]
with np.load(data) as found:
    arrays = {name: found[name] for name in found.files if not name.startswith("labels")}
count = len(next(iter(arrays.values())))
feeds = ({name: array[row : row + 1] for name, array in arrays.items()} for row in range(count))
options = onnxruntime.SessionOptions()
options.add_session_config_entry("session.x64quantprecision", "1")  # as ours: sums that saturate fail the comparison
cpu = ["CPUExecutionProvider"]
runners = [
    OnnxrtRunner(lambda path=path: onnxruntime.InferenceSession(path, options, providers=cpu), name=name)
    for path, name in ((reference, "a"), (engine, "b"))
]
results = Comparator.run(runners, data_loader=feeds)
sys.exit(0 if bool(Comparator.compare_accuracy(results, compare_func=CompareFunc.simple(rtol=1.0, atol=1.0))) else 1)
"""
FLOOR = """
import sys
import numpy as np
import onnxruntime

for path in sys.argv[1:3]:
    options = onnxruntime.SessionOptions()
    options.enable_cpu_mem_arena = False
    options.add_session_config_entry("session.x64quantprecision", "1")
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    names = [one.name for one in session.get_inputs()]
    with np.load(sys.argv[3]) as found:
        arrays = {name: found[name] for name in names}
    for row in range(len(arrays[names[0]])):
        session.run(None, {name: array[row : row + 1] for name, array in arrays.items()})
    del session
"""
LAUNCHER = """
import os, sys, time

start = time.perf_counter()
quiet = [(os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0)]
process = os.posix_spawn(sys.argv[1], sys.argv[1:], os.environ, file_actions=quiet)
_, status, used = os.wait4(process, 0)
print(time.perf_counter() - start, used.ru_utime + used.ru_stime, used.ru_maxrss)
sys.exit(os.waitstatus_to_exitcode(status) != 0)
"""
"""Starts each side. Linux counts the parent's memory at the start as part of the peak, so the parent must be small."""

SIDES = ("theirs", "ours", "floor")
ROUNDS = 3


def inputs(folder: Path, *, quick: bool) -> dict[str, tuple[Path, Path, Path]]:
    """Return reference, engine and data of each comparison: INT8 digits, 1,000 samples; a copy of ResNet-50, 50."""
    from benchmarks.parity.engines import Samples, copied  # the judge imports this module without needing it
    from hil.config.spec import CalibrationSpec

    example = ROOT / "examples" / "digits"
    with np.load(example / "train.npz") as train, np.load(example / "calibration.npz") as calibration:
        np.savez(folder / "digits.npz", image=train["image"][:1000])
        samples = Samples([{"image": calibration["image"][row : row + 1]} for row in range(128)])
    digits = quantize(example / "model.onnx", folder, samples, CalibrationSpec(data="samples", method="minmax")).path
    files = {"digits": (example / "model.onnx", digits, folder / "digits.npz")}
    if not quick:
        case = MAKERS["resnet50"](1)
        onnx.save(case.model, folder / "resnet50.onnx")
        onnx.save(copied(case.model), folder / "resnet50-engine.onnx")
        rows = case.samples(50, 1)
        arrays: dict[str, Any] = {name: np.concatenate([one[name] for one in rows]) for name in rows[0]}
        np.savez(folder / "resnet50.npz", **arrays)
        files["resnet50"] = (folder / "resnet50.onnx", folder / "resnet50-engine.onnx", folder / "resnet50.npz")
    return files


def command(side: str, folder: Path, files: tuple[Path, Path, Path]) -> list[str]:
    """Return the command of one side."""
    reference, engine, data = map(str, files)
    if side == "ours":
        hil = str(Path(sysconfig.get_path("scripts"), "hil"))
        return [hil, "parity", reference, engine, "--data", data, "--precision", "int8"]
    script = folder / f"{side}.py"
    script.write_text(THEIRS if side == "theirs" else FLOOR, encoding="utf-8")
    return [sys.executable, str(script), reference, engine, data]


def once(order: list[str]) -> dict[str, float]:
    """Run ``order``; return its seconds, processor seconds and peak memory (bytes). Raise ``SystemExit`` on failure."""
    launched = [sys.executable, "-S", "-c", LAUNCHER, *order]
    done = subprocess.run(launched, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{' '.join(order)} failed: {done.stderr[-2000:]}")
    seconds, cpu, peak = (float(number) for number in done.stdout.split())
    return {"seconds": seconds, "cpu": cpu, "peak": peak * 1024}


def rows(folder: Path, *, quick: bool) -> list[dict[str, Any]]:
    """Return a row for each process that was run."""
    made = []
    for model, files in inputs(folder, quick=quick).items():
        for number in range(1 if quick else ROUNDS):
            for side in SIDES:
                ran = once(command(side, folder, files))
                made.append({"part": "peer", "model": model, "side": side, "round": number, **ran})
    return made
