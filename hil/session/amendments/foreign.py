"""The amendment for an engine that was built elsewhere: checks that depend on its unknown calibration do not pass."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hil.results import Verdict

if TYPE_CHECKING:
    from hil.results import Judgement, Row
    from hil.session.amendments.row_facts import Facts

UNVERIFIABLE = frozenset({"int8.calibration", "int8.calibration_set", "int8.cache", "int8.disjoint"})
"""Checks that depend on the calibration data. An engine built elsewhere may have used other data."""


def warn_of_foreign_engine(row: Row, judgement: Judgement, facts: Facts) -> Judgement:
    """Turn a pass into a warning if the check depends on calibration data and the engine was built elsewhere.

    Any other judgement is returned unchanged.
    """
    if facts.foreign_engine is None or row.id not in UNVERIFIABLE or judgement.verdict is not Verdict.PASSED:
        return judgement
    what = f"the engine was built elsewhere ({facts.foreign_engine}), and its calibration data is not known"
    return judgement.model_copy(update={"verdict": Verdict.WARNED, "reason": f"{judgement.reason}; but {what}"})
