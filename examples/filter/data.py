"""Draws motions of the arm and the readings of its drives: sequences for training, validation and calibration.

``python -m examples.filter.data`` writes ``validation.npz`` and ``calibration.npz``. Training sequences are not stored:
``training`` draws them again from their seed. Readings and stored truth lie on grids of powers of two, so that they
compress well and do not depend on how a machine rounds.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from examples.arm.data import HOME, RANGE
from examples.arm.kinematics import link

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy.typing as npt

    Floats = npt.NDArray[np.float64]
    Arrays = dict[str, npt.NDArray[np.float32]]

HERE = Path(__file__).parent
RATE = 100.0
"""Steps per second."""

COUNTS = {"train": (1024, 300), "validation": (10, 250), "calibration": (4, 200)}
"""Number of sequences of each part, and number of steps of each sequence."""

SEEDS = {"train": 1, "validation": 2, "calibration": 3}
WAVES = 4
"""A joint's motion is a sum of this many sine waves."""

FREQUENCIES = (0.05, 0.8)
"""Lowest and highest frequency of a wave in Hz."""

ENCODER = 1 / 4096
"""Turns per count of a 12-bit absolute encoder."""

ENCODER_NOISE = 2.0
"""Standard deviation of a reading in counts."""

TORQUE = 1 / 16
"""Resolution of a torque reading in Nm."""

TORQUE_NOISE = np.array([1.0, 1.0, 1.0, 0.25, 0.25, 0.25])
"""Standard deviation of a torque reading in Nm, by joint: torques follow from motor currents."""

POSITION, VELOCITY = 2.0**-13, 2.0**-9
"""Grids of the stored truth in rad and rad/s."""

INERTIA = np.array([3.0, 3.0, 1.2, 0.15, 0.1, 0.05])
"""Inertia of each joint in kg m²: constant here, without coupling between joints."""

FRICTION = np.array([8.0, 8.0, 5.0, 1.0, 1.0, 0.5])
"""Viscous friction of each joint in Nm s/rad."""

MASSES = np.array([3.7, 8.4, 2.3, 1.2, 1.2, 0.2])
"""Mass of each link in kg, here at its far end: about those of a UR5."""

LOAD = 3.0
"""Largest mass in kg that the gripper holds. The mass varies by sequence, and the estimator does not receive it."""

GRAVITY = 9.81


def motions(sequences: int, steps: int, rng: np.random.Generator) -> tuple[Floats, Floats, Floats]:
    """Return positions in rad, velocities in rad/s and accelerations in rad/s², each (sequences, steps, 6).

    Positions stay within ``RANGE`` of ``HOME``, and most sequences begin in motion.
    """
    shape = (sequences, 1, 6, WAVES)
    omega = 2 * np.pi * rng.uniform(*FREQUENCIES, shape)
    amplitude = rng.uniform(0, 1, shape)
    amplitude *= RANGE * rng.uniform(0.1, 1, (sequences, 1, 6, 1)) / amplitude.sum(axis=-1, keepdims=True)
    time = np.arange(steps)[None, :, None, None] / RATE
    phase = omega * time + rng.uniform(0, 2 * np.pi, shape)
    position = (amplitude * np.sin(phase)).sum(axis=-1)
    velocity = (amplitude * omega * np.cos(phase)).sum(axis=-1)
    acceleration = (-amplitude * omega**2 * np.sin(phase)).sum(axis=-1)
    return HOME + position, velocity, acceleration


def weight(position: Floats, load: Floats) -> Floats:
    """Return the torque in Nm (n, 6) that holds the arm at ``position`` (n, 6) in rad with ``load`` (n,) in kg."""
    pose = np.broadcast_to(np.eye(4), (len(position), 4, 4))
    axes, origins = [], []
    for index in range(6):
        axes.append(pose[:, :3, 2])
        origins.append(pose[:, :3, 3])
        pose = pose @ link(position[:, index], index)
    origins.append(pose[:, :3, 3])
    holding = np.zeros((len(position), 6))
    for index, mass in enumerate(MASSES):
        force = (mass + (load if index == 5 else 0)) * GRAVITY * np.ones(len(position))
        for joint in range(index + 1):
            arm = origins[index + 1] - origins[joint]
            holding[:, joint] += (axes[joint][:, 0] * arm[:, 1] - axes[joint][:, 1] * arm[:, 0]) * force
    return holding


def draw(sequences: int, steps: int, rng: np.random.Generator) -> tuple[Arrays, Arrays]:
    """Return readings and truth of ``sequences`` random motions.

    Returns:
        ``encoder`` in turns and ``torque`` in Nm; ``position`` in rad and ``velocity`` in rad/s. Each array is
        (sequences, steps, 6).
    """
    position, velocity, acceleration = motions(sequences, steps, rng)
    load = np.repeat(rng.uniform(0, LOAD, sequences), steps)
    torque = weight(position.reshape(-1, 6), load).reshape(position.shape)
    torque += INERTIA * acceleration + FRICTION * velocity + TORQUE_NOISE * rng.standard_normal(position.shape)
    counts = position / (2 * np.pi * ENCODER) + ENCODER_NOISE * rng.standard_normal(position.shape)
    readings = {"encoder": np.round(counts) * ENCODER, "torque": np.round(torque / TORQUE) * TORQUE}
    truth = {
        "position": np.round(position / POSITION) * POSITION,
        "velocity": np.round(velocity / VELOCITY) * VELOCITY,
    }
    return _single(readings), _single(truth)


def _single(arrays: dict[str, Floats]) -> Arrays:
    return {name: array.astype(np.float32) for name, array in arrays.items()}


def part(name: str) -> tuple[Arrays, Arrays]:
    """Return readings and truth of the part ``train``, ``validation`` or ``calibration``, as ``draw`` does."""
    return draw(*COUNTS[name], np.random.default_rng(SEEDS[name]))


def training() -> Iterator[Arrays]:
    """Yield the readings that the network was trained on, one step of one sequence at a time: arrays (1, 6)."""
    readings, _ = part("train")
    for sequence in range(COUNTS["train"][0]):
        for step in range(COUNTS["train"][1]):
            yield {name: array[sequence, step : step + 1] for name, array in readings.items()}


def main() -> None:
    """Write ``validation.npz`` (with truth) and ``calibration.npz`` (readings only)."""
    for name in ("validation", "calibration"):
        readings, truth = part(name)
        labels = truth if name == "validation" else {}
        arrays: dict[str, Any] = readings | {f"labels.{output}": array for output, array in labels.items()}
        np.savez_compressed(HERE / f"{name}.npz", **arrays)
        print(f"{name}: {COUNTS[name][0]} sequences")  # noqa: T201 - a script's output


if __name__ == "__main__":
    main()
