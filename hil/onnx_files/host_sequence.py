"""Runs a model with a state on the host: whole sequences, one step after another."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from hil.errors import UserError
from hil.onnx_files.host_run import run_on_host

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    import onnxruntime

    from hil.datasets.dataset import Batch
    from hil.datasets.sequence import Sequence as Steps

    Arrays = dict[str, np.ndarray[Any, Any]]
    Hook = Callable[[int, Arrays], Arrays]


def run_batch(session: onnxruntime.InferenceSession, names: Sequence[str], batch: Batch) -> list[Any]:
    """Return the outputs ``names`` for one batch; for sequences, those of all steps, as ``run_sequence`` does."""
    if batch.sequence is None:
        return run_on_host(session, names, batch.feeds)
    return list(run_sequence(session, names, batch.sequence).values())


def run_sequence(
    session: onnxruntime.InferenceSession, names: Sequence[str], sequence: Steps, hook: Hook | None = None
) -> Arrays:
    """Return the outputs ``names`` of each step, ``[steps, *shape]``; each step gets the states of the step before.

    ``hook(step, states)`` may return other states for a step. Raise ``UserError`` for a state or output whose shape
    changes from step to step, and ONNX Runtime's exceptions.
    """
    asked = [*names, *(one for one in sequence.carry.values() if one not in names)]
    states, rows = dict(sequence.begin), []
    for number in range(len(sequence)):
        fed = states if hook is None else hook(number, states)
        outputs = dict(zip(asked, run_on_host(session, asked, {**sequence.step(number), **fed}), strict=True))
        states = {name: outputs[source] for name, source in sequence.carry.items()}
        refuse_growing(sequence.begin, states, sequence.carry)
        rows.append(outputs)
    try:
        return {name: np.stack([row[name] for row in rows]) for name in names}
    except ValueError:
        shapes = {name: {np.shape(row[name]) for row in rows} for name in names}
        odd = next((name for name, found in shapes.items() if len(found) > 1), names[0])
        raise UserError(
            f"output {odd!r} changes its shape from step to step, so its steps cannot be compared as one sequence: "
            "export the model with an output of a fixed shape"
        ) from None


def refuse_growing(begin: Arrays, states: Arrays, carry: Mapping[str, str]) -> None:
    """Raise ``UserError`` if a step changes the shape of a state, as a key-value cache has."""
    for name, source in carry.items():
        if states[name].shape != begin[name].shape:
            before, after = list(begin[name].shape), list(states[name].shape)
            raise UserError(
                f"the state {name!r} grows: it is {before} before a step and output {source!r} is {after} after it: "
                "hil runs states of a fixed size; a cache that grows (keys and values of a transformer) needs memory "
                "and a position that change with each step, which is not supported: export the model with a cache of "
                "a fixed size, or remove carry and compare whole sequences in a test of your own"
            )
