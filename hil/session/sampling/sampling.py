"""What every timed series shares: its inputs, the state contract around it, and how it is kept."""

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
    """Up to 16 real batches of the validation data, cycled through if there are fewer."""
    return [dict(one.inputs) for one in islice(session.dataset(model).batches(batch), FEEDS)]


@contextmanager
def conditions(session: EngineContext) -> Iterator[None]:
    """The state contract around a series; entered once its engine is built and loaded, which heats and takes memory."""
    session.state.ready()
    with session.state.loaded():
        yield


def series_of(session: EngineContext, model: str, timed: Timed, feeds: int) -> Series:
    """What one timed window brought, as a series; called while its ``conditions`` hold, for they are told in it."""
    batch = session.model(model).batch
    method = {**timed.method, "batch": batch, "feeds": feeds, **contract_method.method(session.spec)}
    facts = {"windows": [{**timed.telemetry, "n": int(timed.duration.size)}], "looks": 1, **session.state.facts()}
    return Series(timed.start, timed.duration, batch, method, facts, timed.device)
