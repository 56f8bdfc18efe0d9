"""``_engines``: what the processes of a run told of one engine becomes one entry."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any, cast

from hil.plugins.closing import _engines
from tests.report import sample

if TYPE_CHECKING:
    from hil.session.outcome import Outcome


def test_the_process_that_loaded_an_engine_is_believed() -> None:
    """In whatever order rows come: what only built, or only took the engine, does not hide what ran it."""
    built = sample.on_board().engines[0].model_dump()
    loaded: dict[str, Any] = {**built, "about": {**built["about"], "loaded": {"layers": 7}}}
    only_built: dict[str, Any] = {**built, "executed_on": None}
    for order in itertools.permutations([only_built, loaded, only_built]):
        outcomes = [cast("Outcome", Told([each])) for each in order]
        (engine,) = _engines(outcomes)
        assert engine.about["loaded"] == {"layers": 7}
        assert engine.executed_on is not None


class Told:
    """Stands for the engines of an outcome alone."""

    def __init__(self, engines: list[dict[str, Any]]) -> None:
        self.engines = engines
