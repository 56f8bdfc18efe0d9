"""Names the fault in how an engine passes a state from step to step, by replaying single steps on the reference.

Each hypothesis names a state that a step may have begun with, such as zeros. If the reference then gives the engine's
outputs, the hypothesis is the cause.
"""

from __future__ import annotations

from itertools import combinations
from typing import TYPE_CHECKING, Any

import numpy as np

from hil.diagnose.state_guesses import guesses, valued
from hil.diagnose.step_replay import FLOOR, Replay, Trace, alike, apart

if TYPE_CHECKING:
    from collections.abc import Iterator

RARE = 6.0
"""A step is wrong if its error exceeds this multiple of the median error (at least ``FLOOR``) or the trace's floor,
whichever is smaller."""

SMALL = 1e-4
"""If no step is wrong, steps with an error larger than this are examined, provided that nearly all steps have one."""

EXPLAINED = 0.25
"""A hypothesis explains a wrong step if it leaves at most this share of its error."""

MOST = 0.85
"""Share of the wrong steps that a hypothesis must explain."""

REPLAYED = 24
"""Wrong steps on which hypotheses are tried, evenly spaced."""

ALMOST_ALL = 0.9
FEW_VALUES, COARSER = 64, 4
"""A state is coarse if it has at most this many distinct values in the engine, and over ``COARSER`` times as many in
the reference."""


def cause(trace: Trace) -> str:
    """Return the fault as text, such as "the states 'h' and 'c' are exchanged"; empty if no hypothesis fits.

    The first step with NaN or infinity and all later steps are left out.
    """
    with np.errstate(all="ignore"):  # the state of an unstable engine, and hypotheses about it, may overflow
        return _cause(trace)


def _cause(trace: Trace) -> str:
    count = _finite_steps(trace)
    if not count or not set(trace.carry.values()) <= set(trace.outputs):
        return ""
    replay = Replay(trace, count)
    errors = np.array([replay.error(step, {**trace.inputs(step), **trace.own(step)}) for step in range(count)])
    # Half of the steps or more may be wrong, so that the median is large: it is used only if it is the smaller bound.
    floor = min(trace.floor, max(FLOOR, RARE * float(np.median(errors))))
    wrong = np.flatnonzero(errors > floor)
    small = not len(wrong)
    if small:
        # Errors that add up may be small in each step. Rules would name any rounding: only a replay explains one.
        wrong = np.flatnonzero(errors > SMALL)
        if len(wrong[wrong > 0]) < MOST * (count - 1):
            return ""
    if list(wrong) == [0]:
        return _beginning(trace, replay, float(errors[0]))
    later = wrong[wrong > 0]
    found = next(filter(None, (rule(trace, replay, later, count) for rule in (() if small else RULES))), "")
    if found:
        return found
    chosen = later[np.unique(np.linspace(0, len(later) - 1, REPLAYED).astype(int))]
    best = min(_tried(trace, replay, chosen, errors, len(later) / (count - 1)), default=None)
    return "" if best is None else best[1]


def _finite_steps(trace: Trace) -> int:
    """Return the number of steps before the first NaN or infinity; the number of all steps if all are finite."""
    finite = [np.isfinite(array.reshape(len(array), -1)).all(axis=1) for array in trace.outputs.values()]
    together = np.logical_and.reduce(finite)
    return len(together) if together.all() else int(together.argmin())


def _beginning(trace: Trace, replay: Replay, error: float) -> str:
    """Return as text why only the first step is wrong."""
    if set(trace.before) >= set(trace.carry.values()):
        left = {name: trace.before[source] for name, source in trace.carry.items()}
        same = all(left[name].shape == trace.begin[name].shape for name in left)
        if same and replay.error(0, {**trace.inputs(0), **left}) <= EXPLAINED * error:
            return "the state is not reset where a sequence begins: its first value is that of the sequence before"
    return "the state is not reset where a sequence begins: the first step begins with other values"


def _repeated(trace: Trace, _: Replay, wrong: Any, count: int) -> str:
    """Return a sentence if the wrong steps are the last ones and all repeat one earlier step's outputs; else empty."""
    first = int(wrong[0])
    steps = [array[first - 1 :] for array in trace.outputs.values()]
    if first + len(wrong) == count == len(steps[0]) + first - 1 and all(
        bool((array == array[:1]).all()) for array in steps
    ):
        return f"the last {len(wrong)} steps are not run: they return the outputs of step {first - 1}"
    return ""


def _few_values(trace: Trace, replay: Replay, wrong: Any, _: int) -> str:
    """Return a sentence on a state that has far fewer values in the engine than in the reference.

    Return an empty text if there is no such state.
    """
    for name, source in trace.carry.items():
        ours = np.unique(np.stack([trace.outputs[source][step] for step in wrong]))
        theirs = np.unique(np.stack([replay.made(step)[source] for step in wrong[:REPLAYED]]))
        if len(ours) <= FEW_VALUES and len(theirs) > COARSER * len(ours):
            return f"the state {name!r} has only {len(ours)} values"
    return ""


def _clipping(trace: Trace, replay: Replay, wrong: Any, _: int) -> str:
    """Return a sentence on a state that the engine clips before returning it; empty if it clips no state."""
    for name, source in trace.carry.items():
        low, high = float(trace.outputs[source].min()), float(trace.outputs[source].max())
        shares = []
        for step in wrong[:: max(1, len(wrong) // REPLAYED)]:
            made, ours = replay.made(step)[source], trace.outputs[source][step]
            whole = apart(made, ours)
            if whole > FLOOR * replay.spreads[source][step]:
                shares.append(apart(np.clip(made, low, high), ours) / whole)
        if shares and np.mean(np.array(shares) <= EXPLAINED) >= MOST:
            if low == high:
                return f"the state {name!r} is not updated: it is {low:.4g} in all steps"
            return f"the state {name!r} clips at {max(-low, high):.4g} from step {wrong[0]} on"
    return ""


def _exchanged_outputs(trace: Trace, replay: Replay, wrong: Any, _: int) -> str:
    some = wrong[:REPLAYED]
    for one, other in combinations(trace.carry.values(), 2):
        if alike(trace.outputs[one], trace.outputs[other]):
            names = {one: other, other: one}
            feeds = [{**trace.inputs(step), **trace.own(step)} for step in some]
            shares = [
                replay.error(step, feed, names) / replay.error(step, feed)
                for step, feed in zip(some, feeds, strict=True)
            ]
            if np.mean(np.array(shares) <= EXPLAINED) >= MOST:
                return f"the outputs {one!r} and {other!r} are exchanged"
    return ""


def _drifting(trace: Trace, replay: Replay, wrong: Any, count: int) -> str:
    """Return a sentence on an output that is wrong although all states are right in each step; empty if none is."""
    found = [replay.by_output(step) for step in wrong]
    sources = set(trace.carry.values())
    states = [error for row in found for name, error in row.items() if name in sources]
    if len(wrong) < MOST * (count - wrong[0]) or any(error > FLOOR for error in states):
        return ""
    name = max(found[-1], key=lambda one: found[-1][one])
    errors = [row[name] for row in found]
    grows = len(errors) > 2 and float(np.corrcoef(np.arange(len(errors)), errors)[0, 1]) > ALMOST_ALL
    if all(_is_late(replay, name, int(step)) for step in wrong):
        return f"output {name!r} is one step late, although the state is right"
    what = "drifts" if grows else "is wrong"
    return f"output {name!r} {what} from step {wrong[0]} on, although the state is right"


def _is_late(replay: Replay, name: str, step: int) -> bool:
    """Return whether the engine returned the value that output ``name`` had in the step before."""
    late = apart(replay.made(step - 1)[name], replay.trace.outputs[name][step])
    return bool(late <= EXPLAINED * replay.by_output(step)[name] * replay.spreads[name][step])


RULES = (_repeated, _few_values, _clipping, _exchanged_outputs, _drifting)
"""Rules for causes that are visible in the outputs and in replays from the engine's own states.

They are tried before any other state is. Each rule gets the trace, its replay, the wrong steps and the number of finite
steps, and returns a sentence, or an empty text if it does not apply.
"""


def _tried(trace: Trace, replay: Replay, steps: Any, errors: Any, share: float) -> Iterator[tuple[float, str]]:
    """Yield a pair for each hypothesis that explains enough of the wrong ``steps``: its rank and its sentence.

    The rank is the mean share of the error that the hypothesis leaves unexplained; the smallest is the best. ``errors``
    has the error of each step; ``share`` is the share of the steps after the first that are wrong.
    """
    for text, feed in guesses(trace, steps, always=share >= ALMOST_ALL):
        left = np.array([replay.error(step, feed(step)) for step in steps]) / errors[steps]
        if np.mean(left <= EXPLAINED) >= MOST:
            yield float(np.minimum(left, 1).mean()), text
    for text, value, feed_with in valued(trace, replay, steps):
        left = np.array([replay.error(step, feed_with(step, value)) for step in steps]) / errors[steps]
        if np.mean(left <= EXPLAINED) >= MOST:
            # One more free number always fits a little better: an exact hypothesis comes first.
            yield float(np.minimum(left, 1).mean()) + FLOOR, text.format(value=value, step=steps[0])
