# ruff: noqa: T201 - a script that is put beside its data, for people to run
"""Shows the failure that this folder was made of: python repro.py. Needs numpy and onnxruntime, no GPU, no board.

Exit code 0: the failure shows on this CPU as it did on the target. 3: it does not, and why is said.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np

SHOWN, NOT_SHOWN = 0, 3
FP16_MAX = 65504.0
HERE = Path(__file__).parent
MUCH = 0.5
"""Share of the error seen on the target that makes it the same one."""


def arrays(entry: dict[str, Any]) -> dict[str, Any]:
    """The arrays of one file, by the names of their tensors."""
    with np.load(HERE / entry["file"], allow_pickle=False) as found:
        return {name: found[key] for key, name in entry["names"].items()}


def run(file: str, feeds: dict[str, Any]) -> dict[str, Any]:
    """Outputs of a model on this machine's CPU."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(str(HERE / file), options, providers=["CPUExecutionProvider"])
    wanted = {one.name for one in session.get_inputs()}
    names = [one.name for one in session.get_outputs()]
    given = {name: array for name, array in feeds.items() if name in wanted}
    return dict(zip(names, session.run(names, given), strict=True))


def apart(expected: Any, obtained: Any) -> float:
    """RMS of the difference by the RMS of ``expected``; infinite where something finite became NaN or infinite."""
    x, y = np.asarray(expected, np.float64), np.asarray(obtained, np.float64)
    if x.shape != y.shape or not np.isfinite(y[np.isfinite(x)]).all():
        return float("inf")
    keep = np.isfinite(x)
    scale = np.sqrt(np.mean(x[keep] ** 2)) if keep.any() else 0.0
    return float(np.sqrt(np.mean((y[keep] - x[keep]) ** 2)) / (scale or 1.0)) if keep.any() else 0.0


def whole(index: dict[str, Any]) -> int:
    """Runs both whole models: what there is where no single node is at fault."""
    entry = index["whole"]
    if "engine" not in entry:
        print("the models were too large to be put in, and no single node is at fault: nothing can be shown here")
        return NOT_SHOWN
    feeds = arrays(entry["inputs"])
    theirs, ours = run(entry["reference"], feeds), run(entry["engine"], feeds)
    worst = 0.0
    for name in theirs:
        off = apart(theirs[name], ours[name])
        worst = max(worst, off)
        print(f"output {name}: off by {off:.3g} of its RMS")
    recorded = [float(off) for off in index["diagnosis"]["outputs"].values()]
    return told(worst, max(recorded, default=0.0), index)


def told(here: float, there: float, index: dict[str, Any]) -> int:
    """What it means that the error is ``here`` on this CPU and was ``there`` on the target."""
    if here == there or here >= MUCH * there > 0:
        print("shown: the same graph gives the same failure on this CPU, so the graph is at fault, not the target")
        return SHOWN
    precision = index["diagnosis"]["precision"]
    print(f"not shown: the same graph is off by {here:.3g} on this CPU, it was {there:.3g} on the target")
    print(f"the cause is in how the target computes it ({precision}, its kernels, what it fuses): look at it there")
    return NOT_SHOWN


def overflow(expected: Any) -> int:
    """An overflow in FP16 follows from the reference's values alone."""
    over = int((np.abs(expected) > FP16_MAX).sum())
    if not over:
        return NOT_SHOWN
    print(f"shown: {over} of {expected.size} values of the reference are beyond ±{FP16_MAX:.0f}, where FP16 ends")
    return SHOWN


def part(index: dict[str, Any]) -> int:
    """Runs the nodes at fault alone, on the reference's values."""
    entry, culprit = index["part"], index["diagnosis"]["culprits"][0]
    feeds, (expected,) = arrays(entry["inputs"]), arrays(entry["expected"]).values()
    (obtained,) = arrays(entry["obtained"]).values()
    node = culprit["seen"]["node"]
    print(f"node {node['name']} ({node['op']}, {node['position']} of {node['of']}): {culprit['cause']}")
    print("".join(f"  {line}\n" for line in culprit["evidence"]), end="")
    print(f"on the target: off by {apart(expected, obtained):.3g} of its RMS")
    if "engine" not in entry:
        print("the nodes at fault were too large to be put in: nothing can be run here")
        return NOT_SHOWN
    (here,) = run(entry["engine"], feeds).values()
    print(f"on this CPU:   off by {apart(expected, here):.3g}")
    if index["diagnosis"]["precision"] == "fp16" and overflow(expected) == SHOWN:
        return SHOWN
    return told(apart(expected, here), apart(expected, obtained), index)


def main() -> int:
    """Prints what shows; the exit code says whether the failure does."""
    index = json.loads((HERE / "environment.json").read_text(encoding="utf-8"))
    print(index["verdict"])
    return part(index) if "part" in index else whole(index)


if __name__ == "__main__":
    sys.exit(main())
