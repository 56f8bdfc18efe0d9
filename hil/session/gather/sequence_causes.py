"""Name the fault of a state: find what the reference must do with its state to give the engine's outputs."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import combinations
from typing import TYPE_CHECKING, Any

import numpy as np

from hil.checks.step_errors import relative_errors
from hil.onnx_files.host_sequence import run_sequence

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    import onnxruntime

    from hil.datasets.sequence import Sequence

    Array = np.ndarray[Any, Any]
    Arrays = Mapping[str, Array]
    Hook = Callable[[int, dict[str, Array]], dict[str, Array]]

EXPLAINED = 0.1
"""A supposed fault is named if it leaves at most this share of the engine's error."""

FACTORS = tuple(float(one) for one in np.arange(0.5, 1.51, 0.05) if abs(one - 1) > 0.01)
"""Factors of a state that are tried; the best one is then refined."""

SHARES = tuple(float(one) for one in np.arange(0.2, 1.0, 0.06))
"""Shares of a state's largest magnitude at which it may clip; the best one is refined."""

FEW_STEPS = 40
"""Steps over which factors are tried."""


@dataclass(frozen=True)
class Run:
    """One batch of sequences: the ``reference``'s outputs and the ``engine``'s, of all steps.

    ``left`` are the engine's states at the end of the batch before it, by input; empty for the first batch.
    """

    sequence: Sequence
    reference: Arrays
    engine: Arrays
    left: Arrays


def cause_of(host: onnxruntime.InferenceSession, run: Run) -> str:
    """Return the fault of a state that explains the engine's outputs, such as ``the state 'h' is one step late``.

    If none does, return from which step on the outputs are wrong.
    """
    names = list(run.reference)
    error = _error(run.reference, run.engine, run.reference)
    best, text = EXPLAINED * error, ""
    for fault, sequence, hook in _supposed(host, run):
        if hook is not None or sequence is not run.sequence:
            left = _error(run_sequence(host, names, sequence, hook), run.engine, run.reference)
            if left < best:
                best, text = left, fault
    return text or _from_step(run)


def _supposed(host: onnxruntime.InferenceSession, run: Run) -> Iterator[tuple[str, Sequence, Hook | None]]:
    """Yield supposed faults: what is wrong, the sequence, and what is done with the states before each step."""
    sequence, begin = run.sequence, run.sequence.begin
    if run.left:
        yield "the state is not reset where a sequence begins", replace(sequence, begin=dict(run.left)), None
    for one, other in combinations(begin, 2):
        if begin[one].shape == begin[other].shape and begin[one].dtype == begin[other].dtype:
            what = f"the states {one!r} and {other!r} are exchanged"
            yield what, sequence, lambda _, s, a=one, b=other: {**s, a: s[b], b: s[a]}  # type: ignore[misc]  # a default binds the names
    for state, source in sequence.carry.items():
        mine = f"the state {state!r}"

        def with_state(change: Callable[[int, Array], Array], state: str = state) -> Hook:
            return lambda number, states: {**states, state: change(number, states[state])}

        start = begin[state]
        yield f"{mine} is reset at each step", sequence, with_state(lambda _, __, start=start: start)  # type: ignore[misc]  # as above
        yield f"{mine} is one step late", sequence, with_state(_late(start))
        for other, array in run.reference.items():
            same = array.shape[1:] == start.shape and array.dtype == start.dtype
            if same and other != source and other not in sequence.carry.values():
                yield f"{mine} is fed from output {other!r}", sequence, _fed_from(run.engine[other], state)
        yield from ((f"{mine} {what}", sequence, with_state(change)) for what, change in _axes(start))
        if source in run.engine and np.issubdtype(start.dtype, np.floating):
            yield from _ranges(mine, run, source, with_state)
            factor = _fitted(host, run, FACTORS, lambda k: with_state(_scaled(k)), FEW_STEPS)
            yield f"{mine} is scaled by {factor:.3g}", sequence, with_state(_scaled(factor))
            yield from _clipped(host, run, source, mine, with_state)


def _late(start: Array) -> Callable[[int, Array], Array]:
    kept = [start]

    def change(number: int, state: Array) -> Array:
        if number == 0:
            kept[:] = [start]
        kept.append(state)
        return kept[-2]

    return change


def _scaled(factor: float) -> Callable[[int, Array], Array]:
    return lambda _, state: (factor * state).astype(state.dtype)


def _fed_from(outputs: Array, state: str) -> Hook:
    return lambda number, states: {**states, state: outputs[number - 1]} if number else states


def _axes(start: Array) -> Iterator[tuple[str, Callable[[int, Array], Array]]]:
    """Yield exchanges of two axes, read back in the same shape, and reversals of an axis."""
    sized = [axis for axis, size in enumerate(start.shape) if size > 1]
    for one, other in combinations(sized, 2):
        yield "is transposed", lambda _, s, a=one, b=other: np.swapaxes(s, a, b).reshape(s.shape)  # type: ignore[misc]  # a default binds the axes
    for axis in sized:
        yield f"is reversed along axis {axis}", lambda _, s, a=axis: np.flip(s, a)  # type: ignore[misc]  # as above
        yield f"is shifted along axis {axis}", lambda _, s, a=axis: np.roll(s, 1, a)  # type: ignore[misc]  # as above


def _ranges(
    mine: str, run: Run, source: str, with_state: Callable[[Callable[[int, Array], Array]], Hook]
) -> Iterator[tuple[str, Sequence, Hook]]:
    """Yield a state that clips at the engine's extremes, and one that has few values."""
    engine, reference = run.engine[source], run.reference[source]
    low, high = float(np.nanmin(engine)), float(np.nanmax(engine))
    over = ((reference < low) | (reference > high)).reshape(len(reference), -1).any(axis=1)
    if over.any():
        what = f"{mine} clips to {low:.4g} … {high:.4g} from step {int(over.argmax())} on"
        yield what, run.sequence, with_state(lambda _, s: np.clip(s, low, high).astype(s.dtype))
    values = np.unique(np.round(engine[np.isfinite(engine)].astype(np.float64), 6))
    if 1 < values.size <= min(256, engine.size // 4):
        step = float(np.diff(values).min())
        what = f"{mine} has only {values.size} values, {step:.3g} apart"
        yield what, run.sequence, with_state(lambda _, s: (np.round(s / step) * step).astype(s.dtype))


def _clipped(
    host: onnxruntime.InferenceSession,
    run: Run,
    source: str,
    mine: str,
    with_state: Callable[[Callable[[int, Array], Array]], Hook],
) -> Iterator[tuple[str, Sequence, Hook]]:
    """Yield a state that clips at the same magnitude on both sides, the one with which the reference comes closest."""
    largest = np.abs(run.reference[source]).reshape(len(run.reference[source]), -1).max(axis=1)
    most = float(np.nanmax(largest))
    if not 0 < most < float("inf"):
        return

    def hook(share: float) -> Hook:
        return with_state(lambda _, s: np.clip(s, -share * most, share * most).astype(s.dtype))

    share = _fitted(host, run, SHARES, hook, None)
    step = int((largest > share * most).argmax())
    yield f"{mine} clips at {share * most:.3g} from step {step} on", run.sequence, hook(share)


def _fitted(
    host: onnxruntime.InferenceSession,
    run: Run,
    tried: tuple[float, ...],
    hook: Callable[[float], Hook],
    steps: int | None,
) -> float:
    """Return the number with which the reference comes closest to the engine in the first ``steps``."""
    cut = replace(run.sequence, steps={name: array[:steps] for name, array in run.sequence.steps.items()})
    ours, theirs = ({name: array[:steps] for name, array in side.items()} for side in (run.reference, run.engine))

    def left(number: float) -> float:
        return _error(run_sequence(host, list(run.reference), cut, hook(number)), theirs, ours)

    best = min(tried, key=left)
    for width in (0.02, 0.005, 0.001):
        best = min((best + width * place for place in range(-3, 4)), key=left)
    return float(best)


def _error(one: Arrays, other: Arrays, scale: Arrays) -> float:
    """Return the mean error between two sides, relative to how much the reference varies; infinite if not finite."""
    errors = []
    for name, array in one.items():
        if name not in other or array.shape != other[name].shape or array.shape != scale[name].shape:
            return float("inf")
        with np.errstate(all="ignore"):
            difference = scale[name].astype(np.float64) + other[name] - array
        found = relative_errors(scale[name], difference)
        if found is not None:
            errors.append(float(found.mean()) if np.isfinite(difference).all() else float("inf"))
    return float(np.mean(errors)) if errors else 0.0


def _from_step(run: Run) -> str:
    """Return from which step on the engine is wrong, and what that shows."""
    firsts = []
    for name, array in run.reference.items():
        errors = relative_errors(array, run.engine[name]) if name in run.engine else None
        if errors is not None and errors.max() > 0:
            firsts.append(int((errors > EXPLAINED * errors.max()).argmax()))
    first = min(firsts, default=0)
    if first == 0:
        return "steps are wrong from the first one on, before any state is carried: see the weights and operators"
    if first == 1:
        return "steps are wrong as soon as a state is carried"
    return f"the outputs drift from step {first} on"
