"""What is done wrong with a state between steps is named from the engine's outputs alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import ml_dtypes
import numpy as np
import pytest

from hil.diagnose.state_faults import cause
from hil.diagnose.step_replay import Trace

if TYPE_CHECKING:
    from collections.abc import Callable

    Arrays = dict[str, np.ndarray[Any, Any]]
    Carried = Callable[[int, list[Arrays]], Arrays]

STEPS, INPUTS, UNITS = 80, 3, 6
CARRY = {"h": "hn", "c": "cn"}
RANDOM = np.random.default_rng(0)
WEIGHTS = {name: RANDOM.normal(0, 0.5, (UNITS, UNITS)) for name in "hc"} | {"x": RANDOM.normal(0, 1, (INPUTS, UNITS))}
X = RANDOM.normal(0, 1, (STEPS, 2, INPUTS)).astype(np.float32)
BEGIN = {name: np.zeros((2, UNITS), np.float32) for name in CARRY}


def step(feed: Any) -> Arrays:
    """Return one step of a network with two states."""
    drive = feed["x"] @ WEIGHTS["x"]
    hn = np.tanh(drive + 0.7 * feed["h"] @ WEIGHTS["h"])
    cn = 0.9 * feed["c"] + 0.2 * np.tanh(drive + hn @ WEIGHTS["c"])
    made = {"hn": hn, "cn": cn, "y": hn[:, :2] + cn[:, :2]}
    return {name: array.astype(np.float32) for name, array in made.items()}


def own(made: list[Arrays]) -> Arrays:
    """Return the states as a correct engine carries them."""
    return {name: made[-1][source] for name, source in CARRY.items()} if made else BEGIN


def engine(carried: Carried, begin: Arrays | None = None) -> Arrays:
    """Return the outputs of an engine; ``carried(step, outputs so far)`` are the states that a step begins with."""
    made: list[Arrays] = []
    for number in range(STEPS):
        states = carried(number, made) if made else begin or BEGIN
        made.append(step({"x": X[number], **states}))
    return {name: np.stack([one[name] for one in made]) for name in made[0]}


def named(outputs: Arrays, before: Arrays | None = None) -> str:
    """Return the cause."""
    return cause(Trace(step, {"x": X}, BEGIN, CARRY, outputs, before or {}, axes=dict.fromkeys(BEGIN, 0)))


def _rounded(states: Arrays, short: Any) -> Arrays:
    return {name: array.astype(short).astype(np.float32) for name, array in states.items()}


def _held(number: int, made: list[Arrays]) -> Arrays:
    return own(made[:40]) if number > 40 else own(made)


FAULTS: dict[str, Carried] = {
    "the state 'h' is reset at each step": lambda _, made: {**own(made), "h": BEGIN["h"]},
    "the states 'h' and 'c' are exchanged": lambda _, made: {"h": own(made)["c"], "c": own(made)["h"]},
    "the state 'c' is fed from output 'hn'": lambda _, made: {**own(made), "c": made[-1]["hn"]},
    "the states 'h' and 'c' are one step late": lambda _, made: own(made[:-1]),
    "the state 'c' is one step late": lambda _, made: {**own(made), "c": own(made[:-1])["c"]},
    "the state 'c' is scaled by 0.8": lambda _, made: {**own(made), "c": np.float32(0.8) * own(made)["c"]},
    "the state 'c' is scaled by 0.998": lambda _, made: {**own(made), "c": np.float32(0.998) * own(made)["c"]},
    "the states 'h' and 'c' are reset at step 60": lambda number, made: BEGIN if number == 60 else own(made),
    "sequences 0 and 1 of a batch exchange their states at step 57": lambda number, made: (
        {name: array[::-1] for name, array in own(made).items()} if number == 57 else own(made)
    ),
    "the state is rounded to float16 from step to step": lambda _, made: _rounded(own(made), np.float16),
    "the state is rounded to bfloat16 from step to step": lambda _, made: _rounded(own(made), ml_dtypes.bfloat16),
    "the state 'c' clips at 0.5": lambda _, made: {**own(made), "c": np.clip(own(made)["c"], -0.5, 0.5)},
    "the state is not updated from step 40 on": _held,
    "are not updated in some steps": lambda number, made: own(made[:-1]) if number % 5 == 0 else own(made),
    "the states 'h' and 'c' are not updated in some steps, the first is step": lambda number, made: own(
        made[: max(one for one in range(number + 1) if one % 7 < 4)]
    ),
    "only a part of the state 'h' is carried, 3 of 6": lambda _, made: {
        **own(made),
        "h": own(made)["h"] * (np.arange(UNITS) < 3).astype(np.float32),
    },
    "the state 'h' has its axes in another order": lambda _, made: {
        **own(made),
        "h": np.ascontiguousarray(own(made)["h"].T).reshape(2, UNITS),
    },
}


@pytest.mark.parametrize("text", FAULTS)
def test_a_fault_of_the_runner_is_named(text: str) -> None:
    """Each fault is named, with the state and the step."""
    assert text in named(engine(FAULTS[text]))


def test_states_that_stand_still_in_one_sequence_of_a_batch_are_named() -> None:
    """Each sequence of a batch may stand still in steps of its own, some in a row."""

    def carried(number: int, made: list[Arrays]) -> Arrays:
        rows = [own(made[: max(one for one in range(number + 1) if (one + 3 * row) % 7 < 4)]) for row in range(2)]
        return {name: np.stack([one[name][row] for row, one in enumerate(rows)]) for name in CARRY}

    assert "the states 'h' and 'c' are not updated in some steps" in named(engine(carried))


def test_a_sound_engine_has_no_cause() -> None:
    """Rounding, as from another order of sums, is not a fault of a state."""
    outputs = engine(lambda _, made: own(made))
    assert named(outputs) == ""
    noise = np.random.default_rng(1)
    for size in (1e-5, 1e-3):
        noisy = {name: array * (1 + size * noise.normal(size=array.shape)) for name, array in outputs.items()}
        assert named(noisy) == ""


def test_a_state_that_is_not_reset_is_named() -> None:
    """A sequence that begins with a wrong state, such as the last state of the previous sequence, is named."""
    left = {"h": np.full((2, UNITS), 0.5, np.float32), "c": np.full((2, UNITS), -1, np.float32)}
    outputs = engine(lambda _, made: own(made), left)
    assert "that of the sequence before" in named(outputs, {"hn": left["h"], "cn": left["c"]})
    assert "the first step begins with other values" in named(outputs)


def test_outputs_are_judged_too() -> None:
    """Late outputs, outputs in reverse order, repeated last steps, and a drift without a wrong state are named."""
    sound = engine(lambda _, made: own(made))
    late = np.maximum(np.arange(STEPS) - 50, 0).astype(np.float32)[:, None, None]
    assert "output 'y' drifts from step 51 on" in named({**sound, "y": sound["y"] + 0.1 * late})
    delayed = np.concatenate([sound["y"][:1], sound["y"][:-1]])
    assert "output 'y' is one step late, although the state is right" in named({**sound, "y": delayed})
    assert "in reverse order" in named({name: array[::-1] for name, array in sound.items()})
    repeated = {name: np.concatenate([array[:-2], array[-3:-2], array[-3:-2]]) for name, array in sound.items()}
    assert "the last 2 steps are not run" in named(repeated)


def test_outputs_whose_shape_depends_on_values_end_no_search() -> None:
    """Outputs without elements, and replayed outputs of another shape, do not hide what is wrong with a state."""

    def with_events(feed: Any) -> Arrays:
        made = step(feed)
        return {**made, "never": np.empty((2, 0), np.int64), "events": np.argwhere(made["hn"] > 0)}

    outputs = engine(FAULTS["the state 'h' is reset at each step"])
    odd = {"never": np.empty((STEPS, 2, 0), np.int64), "events": np.zeros((STEPS, 3, 2), np.int64)}
    trace = Trace(with_events, {"x": X}, BEGIN, CARRY, {**outputs, "never": odd["never"]}, {})
    assert "reset at each step" in cause(trace)
    cause(Trace(with_events, {"x": X}, BEGIN, CARRY, {**outputs, **odd}, {}))


def test_only_steps_before_nan_count() -> None:
    """An engine that becomes unstable is judged by its finite steps."""
    outputs = engine(FAULTS["the state 'h' is reset at each step"])
    for array in outputs.values():
        array[60:] = np.nan
    assert "reset at each step" in named(outputs)
    assert named({name: np.full_like(array, np.nan) for name, array in outputs.items()}) == ""


def test_a_counter_that_stands_still_is_named() -> None:
    """A state of integers and one of booleans are replayed like others, and are not fed in place of each other."""

    def count(feed: Any, made: int = 1) -> Arrays:
        level = np.asarray(0.9 * feed["level"] + feed["x"], np.float32)
        counted = feed["count"] + made
        return {"level": level, "count": counted, "flag": feed["flag"] | (counted > 20), "y": level + 0.1 * counted}

    x = np.random.default_rng(0).normal(size=(60, 2, 1)).astype(np.float32)
    begin: Arrays = {"level": np.zeros((2, 1), np.float32), "count": np.zeros((2, 1), np.int64)}
    begin["flag"] = np.zeros((2, 1), bool)
    rows, states = [], begin
    for number in range(60):
        states = count({"x": x[number], **states}, 0)
        rows.append(states)
    outputs = {name: np.stack([row[name] for row in rows]) for name in rows[0]}
    found = cause(Trace(count, {"x": x}, begin, {name: name for name in begin}, outputs, {}))
    assert found == "the state 'count' is not updated: it is 0 in all steps"
