"""Draws joint angles and tools, and computes their poses: training, validation and calibration data.

``python -m examples.arm.data`` writes the three files again. Joints lie on the grid of a 12-bit
absolute encoder and tools on one of 1 mm, as a controller reads them.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from examples.arm.kinematics import forward, to_six

if TYPE_CHECKING:
    import numpy.typing as npt

    Arrays = dict[str, npt.NDArray[np.float32]]

HERE = Path(__file__).parent
SEED = 0
COUNTS = {"train": 40_000, "validation": 1_000, "calibration": 256}
HOME = np.radians([0.0, -90.0, 90.0, -90.0, -90.0, 0.0])
"""Middle of the range, in radians: elbow up, tool pointing down."""

RANGE = np.radians(45.0)
"""Each joint lies within this many radians of ``HOME``."""

REACH = 0.15
"""Each coordinate of the tool's tip lies within this many metres of the flange."""

ENCODER = 2 * np.pi / 4096
MILLIMETRE = 1e-3


def draw(count: int, rng: np.random.Generator) -> Arrays:
    """Return inputs ``joints`` (count, 6) in radians and ``tool`` (count, 3) in metres, uniform over the range."""
    ticks = int(RANGE / ENCODER)
    steps = round(REACH / MILLIMETRE)
    joints = np.round(HOME / ENCODER) + rng.integers(-ticks, ticks + 1, (count, 6))
    tool = rng.integers(-steps, steps + 1, (count, 3))
    return {"joints": (joints * ENCODER).astype(np.float32), "tool": (tool * MILLIMETRE).astype(np.float32)}


def truth(inputs: Arrays) -> Arrays:
    """Return the outputs that the network should give: ``position`` (n, 3) in metres and ``rotation`` (n, 6)."""
    position, rotation = forward(inputs["joints"], inputs["tool"])
    return {"position": position.astype(np.float32), "rotation": to_six(rotation).astype(np.float32)}


def split() -> dict[str, Arrays]:
    """Return the inputs of each part, drawn together. Raise ``ValueError`` if two samples are equal."""
    rng = np.random.default_rng(SEED)
    inputs = draw(sum(COUNTS.values()), rng)
    rows = np.concatenate([inputs["joints"], inputs["tool"]], axis=1)
    if len(np.unique(rows, axis=0)) != len(rows):
        message = "two samples are the same: choose another SEED"
        raise ValueError(message)
    bounds = np.cumsum(list(COUNTS.values()))[:-1]
    joints, tool = np.split(inputs["joints"], bounds), np.split(inputs["tool"], bounds)
    return {name: {"joints": joints[part], "tool": tool[part]} for part, name in enumerate(COUNTS)}


def main() -> None:
    """Write ``train.npz`` and ``calibration.npz`` (inputs) and ``validation.npz`` (with truth)."""
    for name, inputs in split().items():
        labels = truth(inputs) if name == "validation" else {}
        arrays: dict[str, Any] = inputs | {f"labels.{output}": array for output, array in labels.items()}
        np.savez_compressed(HERE / f"{name}.npz", **arrays)
        print(f"{name}: {COUNTS[name]} samples")  # noqa: T201 - a script's output


if __name__ == "__main__":
    main()
