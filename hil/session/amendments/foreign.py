"""An engine that was built elsewhere: what nobody here saw happen cannot pass."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hil.results import Verdict
from hil.session.gather.gathered import Gathered

if TYPE_CHECKING:
    from collections.abc import Callable

    from hil.results import Row
    from hil.session.engine_context import EngineContext

UNSEEN = frozenset({"int8.calibration", "int8.calibration_set", "int8.cache", "int8.disjoint"})
"""What hangs on the data that an engine was calibrated on: the config's need not be that."""


def doubted(session: EngineContext, row: Row, gather: Callable[[EngineContext, Row], Gathered]) -> Gathered:
    """``gather``; of a foreign engine a pass that nothing here can vouch for becomes a warning."""
    file = session.model(row.model).engine if row.model else None
    if file is None or row.id not in UNSEEN:
        return gather(session, row)
    # Asked first: where there is no such engine, there is nothing to warn of.
    session.engines.provisioned(row.model, row.precision)
    found = gather(session, row)
    if found.judgement.verdict is not Verdict.PASSED:
        return found
    what = f"the engine was built elsewhere ({file}), and what it was calibrated on is not known"
    update = {"verdict": Verdict.WARNED, "reason": f"{found.judgement.reason}; but {what}"}
    return Gathered(found.judgement.model_copy(update=update), found.method)
