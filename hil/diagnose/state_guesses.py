"""Guesses which states an engine really began its steps with, if it did not use its own outputs of the step before."""

from __future__ import annotations

from functools import partial
from itertools import combinations, islice, permutations
from typing import TYPE_CHECKING, Any

import ml_dtypes
import numpy as np

from hil.diagnose.step_replay import alike
from hil.dtypes import is_float

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from hil.diagnose.step_replay import Arrays, Replay, Trace

    Guess = tuple[str, Callable[[int], Arrays]]
    Valued = tuple[str, float, Callable[[int, float], Arrays]]

MOST_PAIRS = 10
"""Most pairs of sequences of a batch that are tried."""

HELD = 8
"""The most steps in a row for which a state that is not updated is searched."""

TRIED = 41
"""Number of evenly spaced values that are tried for a factor or a limit; the best one is refined twice."""


def guesses(trace: Trace, steps: Any, *, always: bool) -> Iterator[Guess]:
    """Yield hypotheses: a sentence on what may be wrong, and a function from a step's number to the reference's inputs.

    ``steps`` are the first wrong step and some later wrong ones; ``always`` is whether almost all steps are wrong.
    """
    yield from _other_states(trace, steps, always=always)
    yield from _other_rows(trace, steps, always=always)
    yield from _other_steps(trace, steps, always=always)
    for short in (np.float16, ml_dtypes.bfloat16):
        text = f"the state is rounded to {np.dtype(short).name} from step to step"
        yield text, lambda step, short=short: _fed(trace, step, **_rounded(trace.own(step), short))  # type: ignore[misc]  # a default binds the names
    for name, array in trace.begin.items():
        if sum(size > 1 for size in array.shape) > 1:
            yield f"the state {name!r} has its axes in another order", partial(_turned, trace, name)


def _fed(trace: Trace, step: int, **states: Any) -> Arrays:
    return {**trace.inputs(step), **trace.own(step), **states}


def _rounded(states: Mapping[str, Any], short: Any) -> dict[str, Any]:
    return {n: one.astype(short).astype(one.dtype) if is_float(one.dtype) else one for n, one in states.items()}


def _turned(trace: Trace, name: str, step: int) -> Arrays:
    own = trace.own(step)[name]
    return _fed(trace, step, **{name: np.ascontiguousarray(own.T).reshape(own.shape)})


def _other_states(trace: Trace, steps: Any, *, always: bool) -> Iterator[Guess]:
    """Yield hypotheses in which a state is replaced by its initial value, by another state, or by another output."""
    states, when = list(trace.carry), _when(steps, always)
    if len(states) > 1:
        yield f"{_listed(states)} reset {when}", lambda step: {**trace.inputs(step), **trace.begin}
    for name in states:
        yield (
            f"the state {name!r} is reset {when}",
            lambda step, name=name: _fed(trace, step, **{name: trace.begin[name]}),  # type: ignore[misc]  # a default binds the names
        )
    for one, other in combinations(states, 2):
        if alike(trace.begin[one], trace.begin[other]):

            def exchanged(step: int, one: str = one, other: str = other) -> Arrays:
                own = trace.own(step)
                return _fed(trace, step, **{one: own[other], other: own[one]})

            yield f"the states {one!r} and {other!r} are exchanged", exchanged
    for name, source in permutations([*states, *trace.outputs], 2):
        if name in states and source in trace.outputs and trace.carry[name] != source:
            like = trace.outputs[source]
            if (like.dtype, like.shape[1:]) == (trace.begin[name].dtype, trace.begin[name].shape):
                text = f"the state {name!r} is fed from output {source!r}"
                yield text, lambda step, name=name, like=like: _fed(trace, step, **{name: like[step - 1, ...]})  # type: ignore[misc]  # a default binds the names


def _other_rows(trace: Trace, steps: Any, *, always: bool) -> Iterator[Guess]:
    """Yield hypotheses in which two sequences of a batch have exchanged their states."""
    axes = {name: axis for name, axis in trace.axes.items() if axis is not None}
    rows = min((trace.begin[name].shape[axis] for name, axis in axes.items()), default=1)
    for pair in islice(combinations(range(rows), 2), MOST_PAIRS):

        def exchanged(step: int, pair: tuple[int, int] = pair) -> Arrays:
            order = [pair[1 - pair.index(row)] if row in pair else row for row in range(rows)]
            return _fed(trace, step, **{n: np.take(trace.own(step)[n], order, axis) for n, axis in axes.items()})

        yield f"sequences {pair[0]} and {pair[1]} of a batch exchange their states {_when(steps, always)}", exchanged


def _other_steps(trace: Trace, steps: Any, *, always: bool) -> Iterator[Guess]:
    """Yield hypotheses in which a step gets states or inputs of an earlier step."""
    first, states = int(steps[0]), list(trace.carry)
    for some in ([name] for name in states) if len(states) > 1 else ():
        yield _late(some, always, first), lambda step, some=some: _fed(trace, step, **_only(trace.own(step - 1), some))  # type: ignore[misc]  # a default binds the names
    yield _late(states, always, first), lambda step: _fed(trace, step, **trace.own(step - 1))
    yield (
        f"the state is not updated from step {first - 1} on",
        lambda step: _fed(trace, step, **trace.own(first - 1)),
    )
    last = len(next(iter(trace.outputs.values()))) - 1
    yield (
        "the outputs are returned in reverse order",
        lambda step: {**trace.inputs(last - step), **(trace.own(step + 2) if step < last else trace.begin)},
    )
    yield "the inputs are one step late", lambda step: {**_fed(trace, step), **trace.inputs(step - 1)}


def _only(states: Mapping[str, Any], names: list[str]) -> dict[str, Any]:
    return {name: states[name] for name in names}


def _late(names: list[str], always: bool, first: int) -> str:  # noqa: FBT001 - one of two texts
    state = _listed(names)
    return f"{state} one step late" if always else f"{state} not updated in some steps, the first is step {first - 1}"


def _listed(names: list[str]) -> str:
    listed = " and ".join(repr(name) for name in names)
    return f"the state {listed} is" if len(names) == 1 else f"the states {listed} are"


def _when(steps: Any, always: bool) -> str:  # noqa: FBT001 - one of three texts
    if always:
        return "at each step"
    return f"at step {steps[0]}" if len(steps) == 1 else f"at some steps, the first is step {steps[0]}"


def valued(trace: Trace, replay: Replay, steps: Any) -> Iterator[Valued]:
    """Yield hypotheses with a number: a template of their sentence, the number that fits best, and a function.

    The template has the fields ``value`` and ``step``. The function returns the reference's inputs for a step and a
    number.
    """
    states = list(trace.carry)
    singles = [[one] for one in states] if len(states) > 1 else []
    for names in (*singles, states):

        def earlier(step: int, _: float, names: list[str] = names) -> Arrays:
            return _earlier(trace, names, step)

        yield _late(names, always=False, first=int(steps[0])), 0.0, earlier
    few = steps[np.unique(np.linspace(0, len(steps) - 1, 4).astype(int))]
    for name in trace.carry:
        largest = max(float(np.abs(trace.own(step)[name]).max()) for step in steps)
        if not largest:
            continue

        def scaled(step: int, factor: float, name: str = name) -> Arrays:
            own = trace.own(step)
            return {**trace.inputs(step), **own, name: own[name] * np.asarray(factor, own[name].dtype)}

        def clipped(step: int, limit: float, name: str = name) -> Arrays:
            own = trace.own(step)
            return {**trace.inputs(step), **own, name: np.clip(own[name], -limit, limit).astype(own[name].dtype)}

        def cut(step: int, size: float, name: str = name) -> Arrays:
            own = trace.own(step)
            made = np.array(own[name])
            made[..., round(size) :] = trace.begin[name][..., round(size) :]
            return {**trace.inputs(step), **own, name: made}

        width = trace.begin[name].shape[-1] if trace.begin[name].ndim else 1
        for text, feed, low, high in (
            (f"only a part of the state {name!r} is carried, {{value:.0f}} of {width}", cut, 0.0, float(width)),
            (f"the state {name!r} is scaled by {{value:.3g}}", scaled, -2.0, 2.0),
            (f"the state {name!r} clips at {{value:.3g}} from step {{step}} on", clipped, 0.0, largest),
        ):
            yield text, _best(lambda value, feed=feed: _total(replay, few, feed, value), low, high), feed  # type: ignore[misc]  # a default binds the names


def _earlier(trace: Trace, names: list[str], step: int) -> Arrays:
    """Return the inputs of a step with the states ``names`` from the step, of the last few, that fits its states best.

    Each sequence of a batch may have another such step.
    """
    tried: list[Arrays] = [_fed(trace, step, **_only(trace.own(step - back), names)) for back in range(HELD + 1)]
    made = [trace.step(feed) for feed in tried]
    axes = {name: trace.axes.get(name) for name in trace.carry}
    if None in axes.values():  # the sequences of a batch cannot be distinguished
        axes = dict.fromkeys(axes)
    apart = [
        sum(
            _by_row(np.subtract(one[source], trace.outputs[source][step], dtype=np.float64), axes[name])
            for name, source in trace.carry.items()
        )
        for one in made
    ]
    best = np.nan_to_num(np.array(apart), nan=np.inf).argmin(axis=0)
    if len(best) == 1:
        return tried[int(best[0])]
    states = {
        name: np.stack([np.take(tried[back][name], row, axes[name]) for row, back in enumerate(best)], axes[name] or 0)
        for name in names
    }
    return {**tried[0], **states}


def _by_row(difference: Any, axis: int | None) -> Any:
    """Return the sum of magnitudes for each index of ``axis``; for ``None`` one sum."""
    rows = np.abs(difference)[None] if axis is None else np.moveaxis(np.abs(difference), axis, 0)
    return rows.reshape(len(rows), -1).sum(axis=1)


def _total(replay: Replay, steps: Any, feed: Callable[[int, float], Arrays], value: float) -> float:
    return sum(min(replay.error(step, feed(step, value)), 1e6) for step in steps)


def _best(loss: Callable[[float], float], low: float, high: float) -> float:
    """Return the number in an interval with the smallest loss, from a grid that is refined around its best value."""
    for _ in range(3):
        grid = np.linspace(low, high, TRIED)
        at = int(np.argmin([loss(float(value)) for value in grid]))
        low, high = grid[max(at - 1, 0)], grid[min(at + 1, TRIED - 1)]
        best = float(grid[at])
    return best
