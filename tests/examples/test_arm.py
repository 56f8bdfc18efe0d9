from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import onnxruntime
import pytest
from hypothesis import given
from hypothesis import strategies as st

from examples._export import content_digest
from examples.arm import data as arm
from examples.arm.kinematics import A, D, angle_between, forward, from_six, to_six

if TYPE_CHECKING:
    from pathlib import Path

REACH = float(np.abs(A).sum() + np.abs(D).sum())
ANGLE = st.floats(-2 * np.pi, 2 * np.pi)
JOINTS = st.lists(ANGLE, min_size=6, max_size=6).map(lambda row: np.array([row]))
TOOL = st.lists(st.floats(-0.5, 0.5), min_size=3, max_size=3).map(lambda row: np.array([row]))
NO_TOOL = np.zeros((1, 3))


@pytest.fixture
def folder(repository: Path) -> Path:
    """Return the folder of the example."""
    return repository / "examples" / "arm"


@pytest.mark.parametrize(
    ("joints", "position"),
    [
        ([0, 0, 0, 0, 0, 0], [-0.81725, -0.19145, -0.005491]),  # stretched along -x
        ([0, -90, 0, -90, 0, 0], [0.0, -0.19145, 1.001059]),  # stretched upwards
        ([90, 0, 0, 0, 0, 0], [0.19145, -0.81725, -0.005491]),  # the first pose rotated about the base
    ],
)
def test_known_poses(joints: list[float], position: list[float]) -> None:
    """The kinematics gives the positions that follow from adding up the lengths of the link table."""
    reached, _ = forward(np.radians([joints]), NO_TOOL)
    np.testing.assert_allclose(reached[0], position, atol=1e-9)


@given(JOINTS)
def test_rotation_is_orthonormal(joints: np.ndarray) -> None:
    """The columns of a rotation are orthogonal unit vectors, and right-handed."""
    rotation = forward(joints, NO_TOOL)[1][0]
    np.testing.assert_allclose(rotation @ rotation.T, np.eye(3), atol=1e-9)
    assert np.linalg.det(rotation) == pytest.approx(1)


@given(JOINTS, ANGLE)
def test_turning_the_base_turns_the_pose(joints: np.ndarray, angle: float) -> None:
    """A change of the first joint rotates position and rotation about the base frame's z axis."""
    turned = joints + np.array([[angle, 0, 0, 0, 0, 0]])
    cos, sin = np.cos(angle), np.sin(angle)
    about_z = np.array([[cos, -sin, 0], [sin, cos, 0], [0, 0, 1]])
    position, rotation = forward(joints, NO_TOOL)
    moved, rotated = forward(turned, NO_TOOL)
    np.testing.assert_allclose(moved[0], about_z @ position[0], atol=1e-9)
    np.testing.assert_allclose(rotated[0], about_z @ rotation[0], atol=1e-9)


@given(JOINTS, TOOL)
def test_the_tool_is_a_vector_in_the_flanges_frame(joints: np.ndarray, tool: np.ndarray) -> None:
    """A tool moves the tip by its own length and does not change the rotation; the flange stays within reach."""
    flange, rotation = forward(joints, NO_TOOL)
    tip, same = forward(joints, tool)
    np.testing.assert_allclose(tip[0] - flange[0], rotation[0] @ tool[0], atol=1e-9)
    assert np.array_equal(rotation, same)
    assert np.linalg.norm(flange) <= REACH


@given(JOINTS, JOINTS)
def test_angle_between_is_a_distance(left: np.ndarray, right: np.ndarray) -> None:
    """The angle is zero for equal rotations up to rounding, symmetric, and at most half a turn."""
    first, second = forward(left, NO_TOOL)[1], forward(right, NO_TOOL)[1]
    assert angle_between(first, first)[0] < 1e-6
    assert angle_between(first, second)[0] == pytest.approx(angle_between(second, first)[0])
    assert angle_between(first, second)[0] <= np.pi


@given(JOINTS, st.floats(0.5, 2), st.floats(0.5, 2), st.floats(-1, 1))
def test_six_numbers_are_a_rotation(joints: np.ndarray, first: float, second: float, lean: float) -> None:
    """``from_six`` inverts ``to_six``, also for columns that are scaled or not orthogonal."""
    rotation = forward(joints, NO_TOOL)[1]
    six = to_six(rotation)
    np.testing.assert_allclose(from_six(six), rotation, atol=1e-9)
    bent = np.concatenate([first * six[:, :3], second * six[:, 3:] + lean * six[:, :3]], axis=1)
    np.testing.assert_allclose(from_six(bent), rotation, atol=1e-9)


def test_data_is_within_the_stated_range(folder: Path) -> None:
    """Joints are within 45 degrees of home and tools within 150 mm, and most of that range is used."""
    for part, count in arm.COUNTS.items():
        with np.load(folder / f"{part}.npz", allow_pickle=False) as data:
            assert len(data["joints"]) == len(data["tool"]) == count
            joints = np.abs(data["joints"] - arm.HOME)
            tool = np.abs(data["tool"])
        assert 0.95 * arm.RANGE < joints.max() <= arm.RANGE + 1e-6
        assert 0.95 * arm.REACH < tool.max() <= arm.REACH + 1e-6


def test_stored_labels_are_the_closed_form(folder: Path) -> None:
    """The stored labels are the results of the kinematics for the stored inputs, for each output."""
    with np.load(folder / "validation.npz", allow_pickle=False) as data:
        expected = arm.truth({"joints": data["joints"], "tool": data["tool"]})
        assert set(data.files) == {"joints", "tool", "labels.position", "labels.rotation"}
        for name, array in expected.items():
            assert data[f"labels.{name}"].dtype == np.float32
            np.testing.assert_allclose(data[f"labels.{name}"], array, atol=1e-6)


def test_errors_are_those_the_readme_states(folder: Path) -> None:
    """The mean errors on the held-out data are 7.88 mm and 0.49 degrees, as the README states."""
    session = onnxruntime.InferenceSession(folder / "model.onnx", providers=["CPUExecutionProvider"])
    with np.load(folder / "validation.npz", allow_pickle=False) as data:
        position, rotation = session.run(None, {"joints": data["joints"], "tool": data["tool"]})
        distance = np.linalg.norm(position - data["labels.position"], axis=1)
        angle = np.degrees(angle_between(from_six(rotation), from_six(data["labels.rotation"])))
    assert 1e3 * distance.mean() == pytest.approx(7.88, abs=0.02)
    assert angle.mean() == pytest.approx(0.494, abs=0.005)
    assert "**7.88 mm**" in (folder / "README.md").read_text(encoding="utf-8")


def test_the_model_names_the_data_it_was_trained_on(folder: Path) -> None:
    """The digest in the model's metadata is the digest of ``train.npz``'s content."""
    session = onnxruntime.InferenceSession(folder / "model.onnx", providers=["CPUExecutionProvider"])
    with np.load(folder / "train.npz", allow_pickle=False) as data:
        digest = content_digest({"joints": data["joints"], "tool": data["tool"]})
    assert session.get_modelmeta().custom_metadata_map["training_data"] == digest
