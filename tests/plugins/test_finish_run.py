"""``_engines`` and ``_two_identities``: observations of a run's processes are merged, or contradict each other."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any, cast

from hil.plugins.finish_run import _engines, _two_identities
from tests.report import sample

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hil.session.outcome import Outcome


def test_facts_of_the_process_that_loaded_an_engine_win() -> None:
    """Of several records of an engine, the record of the process that loaded it is kept."""
    built = sample.on_board().engines[0].model_dump()
    loaded: dict[str, Any] = {**built, "about": {**built["about"], "loaded": {"layers": 7}}}
    only_built: dict[str, Any] = {**built, "executed_on": None}
    for order in itertools.permutations([only_built, loaded, only_built]):
        outcomes = [cast("Outcome", PartialOutcome([each])) for each in order]
        (engine,) = _engines(outcomes)
        assert engine.about["loaded"] == {"layers": 7}
        assert engine.executed_on is not None


def test_workers_that_read_two_models_of_one_name() -> None:
    """If two workers read different parts of a model, the run is a user error that names the model."""
    first, other = {"name": "toy", "identity": "1" * 64}, {"name": "arm", "identity": "2" * 64}
    alike = [cast("Outcome", PartialOutcome(models=[each])) for each in (first, other, first)]
    assert _two_identities(alike) is None
    changed = [*alike, cast("Outcome", PartialOutcome(models=[{**other, "identity": "3" * 64}]))]
    assert "model arm was changed while the run read it" in str(_two_identities(changed))


class PartialOutcome:
    """The engines or models of an outcome, without its other fields."""

    def __init__(self, engines: Sequence[dict[str, Any]] = (), models: Sequence[dict[str, Any]] = ()) -> None:
        self.engines, self.models = engines, models
