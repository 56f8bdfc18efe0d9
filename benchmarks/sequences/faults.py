"""Faults that are planted in recurrent models; here those of a runner, which carries states (``Behaviour``)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.sequences import graph_faults
from benchmarks.sequences.behaviours import Answers, Carried, Feeds, Last, Late, NotReset, Shared, WrongBegin
from benchmarks.sequences.planted import Planted, range_of, state_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from benchmarks.sequences.models import Recurrent
    from benchmarks.sequences.runner import Array, Arrays

    Rng = np.random.Generator

LATE = (200, 260)
"""Steps between which a late fault begins."""


def not_reset(model: Recurrent, rng: Rng) -> Planted:  # noqa: ARG001 - as all faults
    """Begin a sequence with the last states of the sequence before."""
    return Planted("states are not reset", NotReset, cause="not reset where a sequence begins")


def wrong_begin(model: Recurrent, rng: Rng) -> Planted:  # noqa: ARG001 - as all faults
    """Begin each sequence with states that are not zero."""
    value = float(rng.uniform(0.5, 1))
    return Planted(
        f"states begin with {value:.2f}",
        lambda: WrongBegin(value),
        cause="not reset where a sequence begins|begins with other",
    )


def reset_each_step(model: Recurrent, rng: Rng) -> Planted:
    """Feed zeros instead of a state in each step."""
    only = state_of(model, rng)
    return Planted(
        f"{only} is reset in each step",
        lambda: Carried(lambda name, _b, after, *_: 0 * after[name], only),
        cause=f"state '{only}' (is|were) reset at each step",
    )


def late(model: Recurrent, rng: Rng) -> Planted:  # noqa: ARG001 - as all faults
    """Feed each state one step late."""
    return Planted("states are one step late", Late, cause="one step late")


def exchanged(model: Recurrent, rng: Rng) -> Planted | None:  # noqa: ARG001 - as all faults
    """Exchange two states of equal shape."""
    if len(model.states) < 2:
        return None
    first, second = model.states
    other = {first: second, second: first}
    return Planted(
        "the two states are exchanged",
        lambda: Carried(lambda name, _b, after, *_: after[other[name]]),
        cause="states .* exchanged",
    )


def wrong_output(model: Recurrent, rng: Rng) -> Planted | None:
    """Feed one state from the output of the other."""
    if len(model.states) < 2:
        return None
    only = state_of(model, rng)
    (given,) = (output for taken, output in model.states.items() if taken != only)
    return Planted(
        f"{only} is fed from {given}",
        lambda: Carried(lambda _n, _b, _a, outputs, _s: outputs[given], only),
        cause=f"state '{only}' (is|were) fed from output '{given}'",
    )


def scaled(model: Recurrent, rng: Rng) -> Planted:
    """Scale one state in each step."""
    only, factor = state_of(model, rng), np.float32(rng.choice([0.5, 0.8, 0.9, 1.1]))
    return Planted(
        f"{only} times {factor:.2f}",
        lambda: Carried(lambda name, _b, after, *_: after[name] * factor, only),
        cause=f"state '{only}' (is|were) scaled by {factor:.3g}",
    )


def transposed(model: Recurrent, rng: Rng) -> Planted:
    """Read one state with its axes in reverse order."""
    only = state_of(model, rng)
    change = lambda name, _b, after, *_: after[name].T.reshape(after[name].shape)  # noqa: E731 - one of several
    return Planted(
        f"{only} with its axes reversed",
        lambda: Carried(change, only),
        cause=f"state '{only}' (has its axes in another order|is transposed)",
    )


def leaking(model: Recurrent, rng: Rng) -> Planted:
    """Mix each sequence's state with that of its neighbour in the batch."""
    only, share = state_of(model, rng), np.float32(rng.uniform(0.1, 0.5))
    axis = model.axes[only]
    change = lambda name, _b, after, *_: after[name] + share * (np.roll(after[name], 1, axis) - after[name])  # noqa: E731 - one of several
    return Planted(
        f"{only} leaks into the next sequence of the batch",
        lambda: Carried(change, only),
        cause="sequences of a batch influence each other",
    )


def shared(model: Recurrent, rng: Rng) -> Planted:  # noqa: ARG001 - as all faults
    """Keep one set of states for all sequences."""
    return Planted("sequences share their states", Shared, cause="sequences share a state")


def clipped(model: Recurrent, rng: Rng) -> Planted:
    """Clip one state at the range of its first steps, as INT8 calibrated on short sequences does."""
    only = state_of(model, rng)
    span = np.float32(range_of(model, only, rng, steps=int(rng.integers(20, 60))))
    change = lambda name, _b, after, *_: np.clip(after[name], -span, span)  # noqa: E731 - one of several
    return Planted(
        f"{only} clipped at {span:.2f}",
        lambda: Carried(change, only),
        cause=f"state '{only}' clips (at|to) ",
    )


def part_lost(model: Recurrent, rng: Rng) -> Planted:
    """Carry only the first part of one state."""
    only, share = state_of(model, rng), float(rng.uniform(0.3, 0.7))

    def change(name: str, _before: Arrays, after: Arrays, *_: Any) -> Array:
        made: Array = np.array(after[name])
        made[..., round(share * made.shape[-1]) :] = 0
        return made

    return Planted(
        f"only {share:.0%} of {only} are carried",
        lambda: Carried(change, only),
        cause=f"only a part of the state '{only}'",
    )


def skipped(model: Recurrent, rng: Rng) -> Planted:  # noqa: ARG001 - as all faults
    """Do not update the states in some steps."""
    period = int(rng.integers(3, 10))
    change = lambda name, before, after, _o, step: (before if step % period == period - 1 else after)[name]  # noqa: E731 - one of several
    return Planted(
        f"states are not updated in each step number {period}",
        lambda: Carried(change),
        cause="not updated in some steps",
    )


def frozen(model: Recurrent, rng: Rng) -> Planted:  # noqa: ARG001 - as all faults
    """Stop updating the states from some step on."""
    first = int(rng.integers(*LATE))
    change = lambda name, before, after, _o, step: (before if step >= first else after)[name]  # noqa: E731 - one of several
    return Planted(
        f"states are not updated from step {first}", lambda: Carried(change), cause=f"not updated from step {first} on"
    )


def drifting(model: Recurrent, rng: Rng) -> Planted:  # noqa: ARG001 - as all faults
    """Add an error that grows from some step on."""
    first, slope = int(rng.integers(*LATE)), np.float32(rng.uniform(0.01, 0.03))
    change = lambda array, step: array + slope * max(0, step - first)  # noqa: E731 - one of several
    return Planted(f"drift from step {first}", lambda: Answers(change), cause="drift(s|ed)? from step")


def not_a_number(model: Recurrent, rng: Rng) -> Planted:  # noqa: ARG001 - as all faults
    """Return NaN from some step on."""
    first = int(rng.integers(*LATE))
    change = lambda array, step: array if step < first else np.full_like(array, np.nan)  # noqa: E731 - one of several
    return Planted(f"NaN from step {first}", lambda: Answers(change), cause=f"NaN or infinity from step {first}")


def inputs_late(model: Recurrent, rng: Rng) -> Planted:  # noqa: ARG001 - as all faults
    """Feed the inputs of the previous step."""
    return Planted("inputs are one step late", Feeds, cause="inputs (are|were) one step late")


def last_missing(model: Recurrent, rng: Rng) -> Planted:  # noqa: ARG001 - as all faults
    """Do not run the last step."""
    count, repeated = int(rng.integers(1, 3)), bool(rng.random() < 0.5)
    how = "are not run" if repeated else "are missing"
    what = f"the last {count} steps {how}"
    return Planted(what, lambda: Last(count, repeated=repeated), cause=what)


FAULTS: Mapping[str, Callable[[Recurrent, Rng], Planted | None]] = {
    "not reset": not_reset,
    "wrong beginning": wrong_begin,
    "reset in each step": reset_each_step,
    "one step late": late,
    "exchanged": exchanged,
    "wrong output": wrong_output,
    "scaled": scaled,
    "rounded": graph_faults.rounded,
    "axes reversed": transposed,
    "leaking": leaking,
    "shared": shared,
    "clipped": clipped,
    "clipped in the graph": graph_faults.clipped_inside,
    "part lost": part_lost,
    "steps skipped": skipped,
    "frozen": frozen,
    "drift": drifting,
    "not a number": not_a_number,
    "inputs late": inputs_late,
    "last steps": last_missing,
    "gate order": graph_faults.gate_order,
    "reset order": graph_faults.reset_order,
    "recurrent weights transposed": graph_faults.again_transposed,
    "bias lost": graph_faults.bias_lost,
    "weight scaled": graph_faults.weight_scaled,
    "outputs exchanged": graph_faults.outputs_exchanged,
}
"""The kinds of faults, by name. A function returns ``None`` if the model does not allow its kind of fault."""

INT8 = ("clipped", "clipped in the graph")
"""Kinds that are judged by the tolerances of INT8; others by those of FP32."""
