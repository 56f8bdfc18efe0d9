"""``_engines``: what the processes of a run told of one engine becomes one entry."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any, cast

from hil.plugins.finish_run import _engines, _two_identities
from tests.report import sample

if TYPE_CHECKING:
    from collections.abc import Sequence

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


def test_workers_that_read_two_models_of_one_name() -> None:
    """A part that changed between two workers' looks: the report would be of a model that nobody judged whole."""
    first, other = {"name": "toy", "identity": "1" * 64}, {"name": "arm", "identity": "2" * 64}
    alike = [cast("Outcome", Told(models=[each])) for each in (first, other, first)]
    assert _two_identities(alike) is None
    changed = [*alike, cast("Outcome", Told(models=[{**other, "identity": "3" * 64}]))]
    assert "model arm was changed while the run read it" in str(_two_identities(changed))


class Told:
    """Stands for the engines or the models of an outcome alone."""

    def __init__(self, engines: Sequence[dict[str, Any]] = (), models: Sequence[dict[str, Any]] = ()) -> None:
        self.engines, self.models = engines, models
