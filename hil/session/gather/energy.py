"""Judge the energy of an inference from the board's power, which is sampled during the series of the latency checks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hil.checks import energy
from hil.errors import Unsupported
from hil.session.amendments.row_facts import Facts
from hil.session.gather import timing
from hil.session.gather.gathered import Gathered
from hil.session.target import state_contract

if TYPE_CHECKING:
    from hil.results import Row
    from hil.session.engine_context import EngineContext


def inference(session: EngineContext, row: Row) -> Gathered:
    """Judge ``energy.inference``: the energy of one inference. Raises ``Unsupported`` if the power is unreadable."""
    series = timing.saturated(session, row.model, row.precision)
    why = energy.unreadable(series)
    if why:
        raise Unsupported(
            f"the board's power cannot be read: {why}: on target {session.used!r}: remove limits.energy of "
            f"models.{row.model}, or use a board whose total power can be read (docs/boards.md)"
        )
    judgement = energy.inference(series, row.limit, timing.confidence(session.config.spec.measure, series))
    facts = Facts(findings=state_contract.findings_of(series), controls=(series.control,))
    return Gathered(judgement, {**series.method, **energy.method(series)}, facts)
