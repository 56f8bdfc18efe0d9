"""Provide what all timed series need: the inputs, the state contract around a series, and the ``Series`` record."""

from __future__ import annotations

from contextlib import contextmanager
from itertools import islice
from typing import TYPE_CHECKING, Any

from hil.series import Series
from hil.session.target import contract_method

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hil.session.engine_context import EngineContext
    from hil.targets.answers import Timed

FEEDS = 16  # inputs cycled through while timing: more than one, few enough to stay in memory
MAX_SAMPLES = 1_000_000


def feeds_of(session: EngineContext, model: str, batch: int) -> list[dict[str, Any]]:
    """Return the inputs of the first 16 batches of the validation data, or of all if fewer, ``batch`` samples each.

    For a model with a state these are the first 16 steps of the first batch of sequences, each with the start state.
    """
    portions = list(islice(session.dataset(model).batches(batch), FEEDS))
    first = portions[0].sequence
    if first is None:
        return [dict(portion.feeds) for portion in portions]
    return [{**first.step(number), **first.begin} for number in range(min(FEEDS, len(first)))]


@contextmanager
def conditions(session: EngineContext) -> Iterator[None]:
    """Bring the target into the state of its contract, and keep it there during the block, in which a series is timed.

    Build and load the engine before: both heat the board. Raises ``LabError`` if the state is not as declared.
    """
    session.state.ready()
    with session.state.loaded():
        yield


def series_of(session: EngineContext, model: str, timed: Timed, feeds: int) -> Series:
    """Return one timed window as a series; ``feeds`` is the number of batches that were cycled through.

    Call it within ``conditions``: the series records the facts of the state contract that hold there.
    """
    batch = session.model(model).batch
    method = {**timed.method, "batch": batch, "feeds": feeds, **contract_method.method(session.spec)}
    facts = {"windows": [{**timed.telemetry, "n": int(timed.duration.size)}], "looks": 1, **session.state.facts()}
    return Series(timed.start, timed.duration, batch, method, facts, timed.device, timed.control)
