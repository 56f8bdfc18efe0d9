"""Whole sequences in a worker: each step is fed with the state of the step before, which stays on the target."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from onnx import TensorProto, helper

from hil.agent.failure import Failure
from hil.agent.runtimes import runtime
from hil.agent.runtimes.recurrence import Recurrence
from hil.agent.workers import stepping
from hil.errors import EngineError
from hil.targets import sequence_calls
from tests import recurrent
from tests.agent.conftest import load
from tests.models import write
from tests.recurrent import CARRY, STATES

if TYPE_CHECKING:
    from pathlib import Path

    from hil.targets.client import AgentClient

X = np.moveaxis(recurrent.inputs(2, 20), 0, 1)  # [steps, batch, 3]
BEGIN = {"h": np.full((1, 2, STATES), 0.25, np.float32)}


def outputs(named: list[tuple[str, np.ndarray[Any, Any]]]) -> dict[str, np.ndarray[Any, Any]]:
    """Return outputs by name."""
    return dict(named)


def test_on_the_target(agent: AgentClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A sequence gives the same outputs sent whole or in parts, also with another sequence in between."""
    path, want = recurrent.write_cell(tmp_path / "cell.onnx"), recurrent.expected(X, BEGIN["h"])
    with load(agent, path) as worker:
        whole = outputs(worker.sequence({"x": X}, BEGIN, CARRY))
        for name, array in want.items():
            np.testing.assert_allclose(whole[name], array, rtol=1e-5, atol=1e-6)
        monkeypatch.setattr(sequence_calls, "LARGEST_PART", X[0].nbytes * 3)
        assert outputs(worker.sequence({"x": X}, BEGIN, CARRY))["hn"].tobytes() == whole["hn"].tobytes()
        parts: dict[str, list[np.ndarray[Any, Any]]] = {"a": [], "b": []}
        for step in range(len(X)):
            for key, x in (("a", X), ("b", X[::-1])):
                begin = None if step else BEGIN
                parts[key].append(outputs(worker.sequence({"x": x[step : step + 1]}, begin, CARRY, key=key))["y"])
        assert np.concatenate(parts["a"]).tobytes() == whole["y"].tobytes()
        states = np.concatenate([BEGIN["h"][None], whole["hn"][:-1]])
        forced = outputs(worker.sequence({"x": X, "h": states}, {}, {}))
        assert forced["y"].tobytes() == whole["y"].tobytes()
        with pytest.raises(EngineError, match="'z'"):
            worker.sequence({"x": X}, BEGIN, {"h": "z"})


@pytest.mark.parametrize("base", [False, True])
def test_the_bound_and_the_plain_way_give_the_same_bits(tmp_path: Path, *, base: bool) -> None:
    """Steps with I/O binding and plain steps give the same bits, and do not change their inputs."""
    engine = runtime("onnxruntime").load(str(recurrent.write_cell(tmp_path / "cell.onnx")), {})
    steps = Recurrence(engine, CARRY, BEGIN) if base else engine.recurrence(CARRY, BEGIN)
    again = engine.recurrence(CARRY, BEGIN)
    state = BEGIN["h"]
    for x in X:
        bound = engine.bind({"x": x, "h": state}).run()
        for one in (steps, again):
            y, state = one.bind({"x": x}).run()
            assert (y.tobytes(), state.tobytes()) == (bound[0].tobytes(), bound[1].tobytes())
    assert (BEGIN["h"] == 0.25).all()


def test_an_answer_ends_at_its_limits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """At a limit of bytes or time, the worker returns fewer steps and keeps the state, so that the rest can follow."""
    engine = runtime("onnxruntime").load(str(recurrent.write_cell(tmp_path / "cell.onnx")), {})
    sequences, order = stepping.Sequences(), {"carry": CARRY, "key": ""}
    whole = dict(sequences.run(engine, order, {"x": X, **BEGIN})[1])
    for limit, value in (("LARGEST", 1), ("LONGEST", 0.0)):
        monkeypatch.setattr(stepping, limit, value)
        rows = [dict(sequences.run(engine, order, {"x": X[at:], **({} if at else BEGIN)})[1]) for at in range(len(X))]
        assert np.concatenate([row["y"] for row in rows]).tobytes() == whole["y"].tobytes()
    sequences.close()
    with pytest.raises(Failure, match="no sequence '' has begun"):
        sequences.run(engine, order, {"x": X})


@pytest.mark.parametrize(
    "arrays", [{}, {"x": X[:0], **BEGIN}, {"x": np.float32(1), **BEGIN}, {"x": X, "z": X[1:], **BEGIN}], ids=len
)
def test_arrays_that_are_no_steps_are_refused(tmp_path: Path, arrays: dict[str, Any]) -> None:
    """Arrays without steps, or with different numbers of steps, are refused."""
    engine = runtime("onnxruntime").load(str(recurrent.write_cell(tmp_path / "cell.onnx")), {})
    arrays = {name: np.asarray(array) for name, array in arrays.items()}
    with pytest.raises(Failure, match="equal numbers of steps"):
        stepping.Sequences().run(engine, {"carry": CARRY, "key": ""}, arrays)


@pytest.mark.parametrize("base", [False, True])
def test_a_state_that_grows_is_refused(tmp_path: Path, *, base: bool) -> None:
    """A state whose shape grows with each step is refused."""
    path = recurrent.write_cell(tmp_path / "cell.onnx", grown="cache", fed="last", after=[recurrent.LAST])
    engine = runtime("onnxruntime").load(str(path), {})
    begin = {"h": np.zeros((1, 2, STATES), np.float32)}
    steps = Recurrence(engine, CARRY, begin) if base else engine.recurrence(CARRY, begin)
    with pytest.raises(Failure):
        steps.bind({"x": X[0]}).run()


def test_timed_steps_go_on_with_their_state(agent: AgentClient, tmp_path: Path) -> None:
    """With ``carry``, an engine can be timed, paced and soaked, and the method states that the state is carried."""
    window: Any = {"warmup": 0.0, "seconds": 0.0, "min_samples": 40, "max_samples": 40}
    feeds = [{"x": x, **BEGIN} for x in X]
    with load(agent, recurrent.write_cell(tmp_path / "cell.onnx")) as worker:
        assert "state" not in worker.time(feeds, **window).method
        worker.carry = CARRY
        timed = worker.time(feeds, **window)
        assert (timed.duration.size, timed.method["state"]) == (40, "carried from step to step")
        assert worker.pace(feeds, warmup=0.0, period=0.001, releases=20).duration.size == 20
        assert worker.soak(feeds[0], 50).runs[-1] == 50


def test_an_output_whose_shape_depends_on_values_is_not_cut(tmp_path: Path) -> None:
    """An output whose shape depends on values is returned while its shape stays the same, and refused if it changes."""
    nodes = [
        helper.make_node("Add", ["h", "x"], ["hn"]),
        helper.make_node("NonZero", ["x"], ["places"]),
        helper.make_node("Cast", ["places"], ["where"], to=TensorProto.FLOAT),
    ]
    shapes: dict[str, Any] = {"x": ["batch", 3], "h": ["batch", 3]}
    model = write(tmp_path / "m.onnx", nodes, shapes, {"hn": ["batch", 3], "where": [2, "found"]})
    engine = runtime("onnxruntime").load(str(model), {})
    x = np.eye(3, dtype=np.float32)[[0, 1, 2, 0, 2]][:, None]
    order, begin = {"carry": CARRY, "key": ""}, {"h": np.zeros((1, 3), np.float32)}
    outputs_of = dict(stepping.Sequences().run(engine, order, {"x": x, **begin})[1])
    assert outputs_of["where"][:, 1, 0].tolist() == [0, 1, 2, 0, 2]
    np.testing.assert_array_equal(outputs_of["hn"], np.cumsum(x, axis=0))
    x[3] = 1
    with pytest.raises(Failure, match="changes its shape"):
        stepping.Sequences().run(engine, order, {"x": x, **begin})
