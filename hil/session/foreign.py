"""An engine that was built elsewhere: what nobody here saw happen cannot pass."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hil.checks.verdicts import judged
from hil.model import Verdict
from hil.session.gather.gathered import Gathered

if TYPE_CHECKING:
    from collections.abc import Callable

    from hil.model import Row
    from hil.session.core import Session

UNSEEN = frozenset({"int8.calibration", "int8.cache"})
"""What only whoever built the engine could answer."""
DECLARED = frozenset({"int8.disjoint"})
"""What is asked of the calibration data that the config names, which need not be what the engine was made with."""
REASON = "the engine was built elsewhere ({file}): what it was calibrated on, and how, is not known"


def doubted(session: Session, row: Row, gather: Callable[[Session, Row], Gathered]) -> Gathered:
    """``gather``, or for a foreign engine a warning in the place of a pass that nothing here can vouch for."""
    file = session.model(row.model).engine if row.model else None
    if file is None or row.id not in UNSEEN | DECLARED:
        return gather(session, row)
    reason = REASON.format(file=file)
    if row.id in UNSEEN:
        # Asked in earnest first: a runtime without such an engine has nothing that could be warned of.
        session.engines.provisioned(row.model, row.precision)
        return Gathered(judged(Verdict.WARNED, reason, details={"foreign": True}), {"version": 1})
    found = gather(session, row)
    if found.judgement.verdict is not Verdict.PASSED:
        return found
    update = {"verdict": Verdict.WARNED, "reason": f"{found.judgement.reason}; but {reason}"}
    return Gathered(found.judgement.model_copy(update=update), found.method)
