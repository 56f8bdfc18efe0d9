from __future__ import annotations

import shutil
from contextlib import closing
from typing import TYPE_CHECKING

import numpy as np
import onnxruntime
import pytest
from hypothesis import given
from hypothesis import strategies as st

from examples._export import content_digest
from examples.arm.data import HOME, RANGE
from examples.arm.kinematics import forward
from examples.filter.data import ENCODER, GRAVITY, RATE, TORQUE, motions, part, weight
from hil.config.load import load
from hil.plan import expand
from hil.results import Verdict
from hil.session import Request, Session

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    Arrays = dict[str, NDArray[np.float32]]

SETTLED = 50
STATES = {"estimate": "next_estimate", "memory": "next_memory"}


@pytest.fixture
def folder(repository: Path) -> Path:
    """Return the folder of the example."""
    return repository / "examples" / "filter"


@pytest.fixture
def session(folder: Path) -> onnxruntime.InferenceSession:
    """Return a session of the example's model."""
    return onnxruntime.InferenceSession(folder / "model.onnx", providers=["CPUExecutionProvider"])


def estimates(session: onnxruntime.InferenceSession, readings: Arrays, begin: Arrays | None = None) -> Arrays:
    """Return all outputs (sequences, steps, …), carrying the states from step to step, at first ``begin`` or zeros."""
    names = [one.name for one in session.get_outputs()]
    count, steps = readings["encoder"].shape[:2]
    widths = {one.name: one.shape[1] for one in session.get_inputs()}
    states = begin or {name: np.zeros((count, widths[name]), np.float32) for name in STATES}
    made = []
    for step in range(steps):
        feed = {name: readings[name][:, step] for name in ("encoder", "torque")}
        made.append(dict(zip(names, session.run(names, {**feed, **states}), strict=True)))
        states = {taken: made[-1][given] for taken, given in STATES.items()}
    return {name: np.stack([one[name] for one in made], axis=1) for name in names}


def error(estimate: NDArray[np.float32], truth: NDArray[np.float32]) -> float:
    """Return the RMS error in thousandths, once the estimator has settled."""
    return 1e3 * float(np.sqrt(np.mean((estimate - truth)[:, SETTLED:].astype(np.float64) ** 2)))


def test_errors_are_those_the_readme_states(folder: Path, session: onnxruntime.InferenceSession) -> None:
    """The errors on the held-out data are the README's, and far below those of the readings alone."""
    with np.load(folder / "validation.npz", allow_pickle=False) as data:
        readings = {name: data[name] for name in ("encoder", "torque")}
        truth = {name: data[f"labels.{name}"] for name in ("position", "velocity")}
    made = estimates(session, readings)
    position, velocity = (error(made[name], truth[name]) for name in ("position", "velocity"))
    read = readings["encoder"] * np.float32(2 * np.pi)
    assert position < 0.6 * error(read, truth["position"])
    assert velocity < 0.2 * error(np.diff(read, axis=1, prepend=read[:, :1]) * np.float32(RATE), truth["velocity"])
    text = (folder / "README.md").read_text(encoding="utf-8")
    assert position == pytest.approx(1.54, abs=0.01)
    assert velocity == pytest.approx(26.8, abs=0.4)
    assert "**1.54 mrad** and **27 mrad/s**" in text


def test_an_error_of_the_state_dies_away(folder: Path, session: onnxruntime.InferenceSession) -> None:
    """After two seconds, the estimates do not depend on the first states."""
    with np.load(folder / "validation.npz", allow_pickle=False) as data:
        readings = {name: data[name] for name in ("encoder", "torque")}
    count = len(readings["encoder"])
    rng = np.random.default_rng(0)
    begin = {
        "estimate": rng.uniform(-0.5, 0.5, (count, 12)).astype(np.float32),
        "memory": rng.uniform(-1, 1, (count, 32)).astype(np.float32),
    }
    first, other = estimates(session, readings), estimates(session, readings, begin)
    assert np.abs(first["position"][:, 200:] - other["position"][:, 200:]).max() < 1e-4


def test_a_lost_state_shows(folder: Path, session: onnxruntime.InferenceSession) -> None:
    """With either state set to zero in each step, the velocity is wrong."""
    with np.load(folder / "validation.npz", allow_pickle=False) as data:
        readings = {name: data[name][:2, :100] for name in ("encoder", "torque")}
    names = [one.name for one in session.get_outputs()]
    sound = estimates(session, readings)["velocity"]
    for lost in STATES:
        states = {"estimate": np.zeros((2, 12), np.float32), "memory": np.zeros((2, 32), np.float32)}
        wrong = []
        for step in range(100):
            feed = {name: array[:, step] for name, array in readings.items()}
            made = dict(zip(names, session.run(names, {**feed, **states}), strict=True))
            states = {taken: made[given] * np.float32(taken != lost) for taken, given in STATES.items()}
            wrong.append(made["velocity"])
        assert np.sqrt(np.mean((np.stack(wrong, axis=1) - sound)[:, SETTLED:] ** 2)) > 0.1 * sound.std()


def test_the_data_can_be_generated_again(folder: Path, session: onnxruntime.InferenceSession) -> None:
    """``data.py`` generates the stored sequences, and the training sequences whose digest the model names."""
    for name in ("validation", "calibration"):
        readings, truth = part(name)
        with np.load(folder / f"{name}.npz", allow_pickle=False) as stored:
            labels = {f"labels.{key}": array for key, array in truth.items()} if name == "validation" else {}
            assert set(stored.files) == {*readings, *labels}
            assert all(np.array_equal(stored[key], array) for key, array in (readings | labels).items())
    digest = content_digest(part("train")[0])
    assert session.get_modelmeta().custom_metadata_map["training_data"] == digest


def test_readings_lie_on_their_grids(folder: Path) -> None:
    """Readings are whole multiples of the encoder's count and of the torque's resolution."""
    for name in ("validation", "calibration"):
        with np.load(folder / f"{name}.npz", allow_pickle=False) as data:
            for key, grid in (("encoder", ENCODER), ("torque", TORQUE)):
                assert np.array_equal(data[key] / grid, np.round(data[key] / grid))


@given(st.integers(0, 2**32 - 1))
def test_motions_are_consistent(seed: int) -> None:
    """Joints stay in the arm's range, and velocities and accelerations are the derivatives of positions."""
    position, velocity, acceleration = motions(2, 50, np.random.default_rng(seed))
    assert np.abs(position - HOME).max() <= RANGE + 1e-9
    for value, rate in ((position, velocity), (velocity, acceleration)):
        between = (rate[:, 1:] + rate[:, :-1]) / 2
        np.testing.assert_allclose(np.diff(value, axis=1) * RATE, between, atol=2e-3 * np.abs(rate).max())


def test_weight_is_the_change_of_potential_energy() -> None:
    """The torque that holds a load is the derivative of its potential energy with respect to each joint."""
    joints = np.random.default_rng(0).uniform(-1, 1, (5, 6)) + HOME
    with_load = weight(joints, np.full(5, 2.0)) - weight(joints, np.zeros(5))
    for joint in range(6):
        step = np.zeros(6)
        step[joint] = 1e-5
        heights = [forward(joints + sign * step, np.zeros((5, 3)))[0][:, 2] for sign in (1, -1)]
        np.testing.assert_allclose(with_load[:, joint], 2 * GRAVITY * (heights[0] - heights[1]) / 2e-5, atol=1e-6)


def test_its_config_names_both_states(folder: Path, repository: Path) -> None:
    """The example's own config carries both states; the project's config does not have the example."""
    inputs = load(folder / "hil.toml").model("filter", "cpu").inputs
    assert {name: one.carry for name, one in inputs.items() if one.carry is not None} == STATES
    assert "filter" not in load(repository / "hil.toml").spec.models


JUDGED = ("sequence.free_running", "parity.task", "int8.ranges")


def test_the_engines_pass_what_they_are_judged_by(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the example's own config, the FP32 and INT8 engines pass the checks of ``JUDGED`` over 80 steps."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    for name in ("hil.toml", "model.onnx", "calibration.npz"):
        shutil.copy(folder / name, tmp_path / name)
    with np.load(folder / "validation.npz", allow_pickle=False) as data:
        np.savez(tmp_path / "validation.npz", **{name: data[name][:, :80] for name in data.files})
    config = load(tmp_path / "hil.toml")
    request = Request(config, "cpu", "fail", 0.0, "run", tmp_path / "report", progress=lambda _: None)
    rows = [row for row in expand(config, "cpu").rows if row.id in JUDGED]
    assert {(row.id, row.precision) for row in rows} == {
        (JUDGED[0], "fp32"),
        (JUDGED[1], "fp32"),
        *((one, "int8") for one in JUDGED),
    }
    with closing(Session.open(request)) as session:
        for row in rows:
            result = session.judge(row).result
            assert result.verdict is Verdict.PASSED, f"{row.name}: {result.reason}"


def test_the_example_is_small(folder: Path) -> None:
    """All files of the example together are smaller than 200 kB."""
    assert sum(path.stat().st_size for path in folder.iterdir() if path.is_file()) < 200_000
