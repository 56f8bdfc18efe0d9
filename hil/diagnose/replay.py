# ruff: noqa: T201 - a script that is copied into the bundle, for people to run
"""Reproduce the failure in this folder: python repro.py. Needs numpy and onnxruntime, but no GPU and no board.

Exit code 0: the failure was reproduced on this CPU. 3: it was not reproduced; the output explains why.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np

SHOWN, NOT_SHOWN = 0, 3
SHOWN_STEPS = 5
FP16_MAX = 65504.0
HERE = Path(__file__).parent
MUCH = 0.5
"""Share of the target's error that this CPU must show for the failure to count as reproduced."""


def arrays(entry: dict[str, Any]) -> dict[str, Any]:
    """Return, by tensor name, the arrays of the file that the index entry ``entry`` describes."""
    with np.load(HERE / entry["file"], allow_pickle=False) as file:
        return {name: file[key] for key, name in entry["names"].items()}


def opened(file: str) -> Any:
    """Return an ONNX Runtime session of the model in ``file``, a name in this folder, on this machine's CPU."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    return onnxruntime.InferenceSession(str(HERE / file), options, providers=["CPUExecutionProvider"])


def run(session: Any, feeds: dict[str, Any]) -> dict[str, Any]:
    """Return the outputs of a session by name. Arrays in ``feeds`` that are not inputs of the model are ignored."""
    input_names = {value.name for value in session.get_inputs()}
    output_names = [value.name for value in session.get_outputs()]
    inputs = {name: array for name, array in feeds.items() if name in input_names}
    return dict(zip(output_names, session.run(output_names, inputs), strict=True))


def relative_error(expected: Any, obtained: Any) -> float:
    """Return the RMS of the difference divided by the RMS of ``expected``, over the finite elements of ``expected``.

    It is infinite if the shapes differ, or if ``obtained`` is NaN or infinite where ``expected`` is finite; 0 if no
    element of ``expected`` is finite. If all finite elements are 0, it is the RMS of the difference.
    """
    x, y = np.asarray(expected, np.float64), np.asarray(obtained, np.float64)
    if x.shape != y.shape or not np.isfinite(y[np.isfinite(x)]).all():
        return float("inf")
    finite = np.isfinite(x)
    scale = np.sqrt(np.mean(x[finite] ** 2)) if finite.any() else 0.0
    return float(np.sqrt(np.mean((y[finite] - x[finite]) ** 2)) / (scale or 1.0)) if finite.any() else 0.0


def whole(index: dict[str, Any]) -> int:
    """Run both whole models, print their difference, and return the exit code."""
    entry = index["whole"]
    if "engine" not in entry:
        print("not reproduced: no single node is at fault, and the models were too large for this bundle")
        return NOT_SHOWN
    feeds = arrays(entry["inputs"])
    expected, obtained = (run(opened(entry[side]), feeds) for side in ("reference", "engine"))
    worst = 0.0
    for name in expected:
        error = relative_error(expected[name], obtained[name])
        worst = max(worst, error)
        print(f"output {name}: relative error {error:.3g}")
    recorded = [float(error) for error in index["diagnosis"]["outputs"].values()]
    return report_outcome(worst, max(recorded, default=0.0), index)


def sequence(index: dict[str, Any]) -> int:
    """Run both models over the sequence up to the examined step, each with its own states, and return the exit code.

    The code is ``NOT_SHOWN`` if the bundle lacks the models or the inputs, or if the target had no error in this step;
    otherwise the result of ``report_outcome``.
    """
    entry, models = index["sequence"], index["whole"]
    if "inputs" not in entry or "engine" not in models:
        print("the sequence is not replayed: its inputs or the models were too large for this bundle")
        return NOT_SHOWN
    steps, begin, expected, obtained = (arrays(entry[key]) for key in ("inputs", "begin", "expected", "obtained"))
    sides = [opened(models[side]) for side in ("reference", "engine")]
    states, count = [begin, begin], len(next(iter(steps.values())))
    shown, worst = {count * part // SHOWN_STEPS for part in range(SHOWN_STEPS)} | {count - 1}, 0.0
    print(f"a sequence of {count} steps, each side with its own state:")
    for number in range(count):
        inputs = {name: array[number, ...] for name, array in steps.items()}
        ours, theirs = (run(one, {**inputs, **state}) for one, state in zip(sides, states, strict=True))
        states = [{name: made[source] for name, source in entry["carry"].items()} for made in (ours, theirs)]
        worst = max(relative_error(ours[name], theirs[name]) for name in ours)
        if number in shown:
            print(f"  step {number}: relative error {worst:.3g}")
    on_target = max(
        (relative_error(expected[name], obtained[name]) for name in expected if name in obtained), default=0.0
    )
    print(f"  step {count - 1} on the target: relative error {on_target:.3g}")
    if not on_target:
        print("not reproduced: the target's own run has no error in this step")
        return NOT_SHOWN
    return report_outcome(worst, on_target, index)


def report_outcome(on_cpu: float, on_target: float, index: dict[str, Any]) -> int:
    """Print what the relative errors on this CPU and on the target mean, and return the exit code.

    The failure counts as reproduced if this CPU has the same error or at least the share ``MUCH`` of it.
    """
    if on_cpu == on_target == 0:
        print("not reproduced: neither this CPU nor the target has an error")
        return NOT_SHOWN
    if on_cpu == on_target or on_cpu >= MUCH * on_target > 0:
        print("reproduced: the same graph gives the same failure on this CPU, so the graph is at fault, not the target")
        return SHOWN
    precision = index["diagnosis"]["precision"]
    print(f"not reproduced: the error is {on_cpu:.3g} on this CPU, and was {on_target:.3g} on the target")
    print(f"the cause is how the target runs the graph ({precision}, kernels, fusion): investigate on the target")
    return NOT_SHOWN


def overflow(expected: Any) -> int:
    """Return ``SHOWN`` and print why if a value of ``expected`` exceeds the range of FP16; otherwise ``NOT_SHOWN``."""
    over = int((np.abs(expected) > FP16_MAX).sum())
    if not over:
        return NOT_SHOWN
    print(f"reproduced: {over} of {expected.size} reference values are beyond ±{FP16_MAX:.0f}, the range of FP16")
    return SHOWN


def part(index: dict[str, Any]) -> int:
    """Run only the nodes at fault, on the reference's values, print their error, and return the exit code."""
    entry, culprit = index["part"], index["diagnosis"]["culprits"][0]
    feeds, (expected,) = arrays(entry["inputs"]), arrays(entry["expected"]).values()
    (obtained,) = arrays(entry["obtained"]).values()
    node = culprit["seen"]["node"]
    print(f"node {node['name']} ({node['op']}, {node['position']} of {node['of']}): {culprit['cause']}")
    print("".join(f"  {line}\n" for line in culprit["evidence"]), end="")
    print(f"on the target: relative error {relative_error(expected, obtained):.3g}")
    if "engine" not in entry:
        print("not reproduced: the nodes at fault were too large for this bundle")
        return NOT_SHOWN
    (on_cpu,) = run(opened(entry["engine"]), feeds).values()
    print(f"on this CPU:   relative error {relative_error(expected, on_cpu):.3g}")
    if index["diagnosis"]["precision"] == "fp16" and overflow(expected) == SHOWN:
        return SHOWN
    return report_outcome(relative_error(expected, on_cpu), relative_error(expected, obtained), index)


def main() -> int:
    """Reproduce the failure, print the result, and return the exit code: 0 if reproduced, otherwise 3."""
    index = json.loads((HERE / "environment.json").read_text(encoding="utf-8"))
    print(index["verdict"])
    codes = [part(index)] if "part" in index else []
    if "sequence" in index:
        codes.append(sequence(index))
    return min(codes) if codes else whole(index)


if __name__ == "__main__":
    sys.exit(main())
