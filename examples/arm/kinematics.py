"""Forward kinematics of a UR5 in closed form, the network's ground truth.

Source: Universal Robots, "DH Parameters for calculations of kinematics and dynamics", table UR5 (standard
Denavit-Hartenberg convention).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt

    Floats = npt.NDArray[np.float64]

A = np.array([0.0, -0.425, -0.39225, 0.0, 0.0, 0.0])
"""Link lengths in metres."""

D = np.array([0.089159, 0.0, 0.0, 0.10915, 0.09465, 0.0823])
"""Link offsets in metres."""

ALPHA = np.array([0.5, 0.0, 0.0, 0.5, -0.5, 0.0]) * np.pi
"""Link twists in radians."""


def link(theta: Floats, index: int) -> Floats:
    """Return the transforms (n, 4, 4) across joint ``index`` at its angles ``theta`` (n,) in radians.

    Rot_z(theta) Trans_z(d) Trans_x(a) Rot_x(alpha): Denavit and Hartenberg, 1955.
    """
    cos, sin = np.cos(theta), np.sin(theta)
    cos_alpha, sin_alpha = np.cos(ALPHA[index]), np.sin(ALPHA[index])
    transform = np.zeros((len(theta), 4, 4))
    transform[:, 0] = np.stack([cos, -sin * cos_alpha, sin * sin_alpha, A[index] * cos], axis=1)
    transform[:, 1] = np.stack([sin, cos * cos_alpha, -cos * sin_alpha, A[index] * sin], axis=1)
    transform[:, 2] = [0.0, sin_alpha, cos_alpha, D[index]]
    transform[:, 3, 3] = 1.0
    return transform


def forward(joints: npt.ArrayLike, tool: npt.ArrayLike) -> tuple[Floats, Floats]:
    """Return the pose of the tool's tip in the base frame.

    Args:
        joints: angles in radians, shape (n, 6).
        tool: the tip in the flange's frame in metres, shape (n, 3).

    Returns:
        Position in metres, shape (n, 3), and rotation matrices, shape (n, 3, 3).
    """
    angles = np.asarray(joints, dtype=np.float64)
    pose = np.broadcast_to(np.eye(4), (len(angles), 4, 4))
    for index in range(6):
        pose = pose @ link(angles[:, index], index)
    rotation = pose[:, :3, :3]
    offset = np.asarray(tool, dtype=np.float64)[:, :, None]
    return pose[:, :3, 3] + (rotation @ offset)[:, :, 0], rotation


def to_six(rotation: Floats) -> Floats:
    """Return the first two columns of rotation matrices (n, 3, 3), one after the other, shape (n, 6).

    Unlike quaternions and Euler angles, these six numbers are continuous over all rotations, which a
    network learns more easily: Zhou et al., "On the Continuity of Rotation Representations in Neural
    Networks", CVPR 2019.
    """
    return np.concatenate([rotation[:, :, 0], rotation[:, :, 1]], axis=1)


def from_six(six: npt.ArrayLike) -> Floats:
    """Return rotation matrices (n, 3, 3) from six numbers (n, 6) by Gram-Schmidt; inverse of ``to_six``.

    The two vectors must not be parallel, but need not be orthonormal.
    """
    values = np.asarray(six, dtype=np.float64)
    x = values[:, :3] / np.linalg.norm(values[:, :3], axis=1, keepdims=True)
    y = values[:, 3:] - np.sum(x * values[:, 3:], axis=1, keepdims=True) * x
    y /= np.linalg.norm(y, axis=1, keepdims=True)
    return np.stack([x, y, np.cross(x, y)], axis=2)


def angle_between(left: Floats, right: Floats) -> Floats:
    """Return the angle in radians, shape (n,), of the rotation from ``left`` to ``right``, both (n, 3, 3)."""
    trace = np.einsum("nij,nij->n", left, right)
    angle: Floats = np.arccos(np.clip((trace - 1) / 2, -1, 1))
    return angle
