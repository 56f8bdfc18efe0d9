"""Amendments that add what was measured besides the judged value: details, the values of runs, and disturbances."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hil.state import OF_MEMORY, fold
from hil.stats.control import summary

if TYPE_CHECKING:
    from collections.abc import Iterable

    from hil.results import Judgement, Row
    from hil.session.amendments.row_facts import Facts
    from hil.state import Finding


def add_details(_row: Row, judgement: Judgement, facts: Facts) -> Judgement:
    """Add ``facts.details``, such as the energy, file and histogram of a series, to the judgement's details."""
    return judgement.model_copy(update={"details": {**judgement.details, **facts.details}})


def add_run_values(_row: Row, judgement: Judgement, facts: Facts) -> Judgement:
    """Add the values of the separate runs to the measurement, and their details to the judgement's details.

    A judgement without a measurement is returned unchanged.
    """
    runs, measurement = facts.runs, judgement.measurement
    if runs is None or measurement is None:
        return judgement
    details = judgement.details if runs.details is None else {**judgement.details, "runs": dict(runs.details)}
    update = {"measurement": measurement.model_copy(update={"runs": runs.values}), "details": details}
    return judgement.model_copy(update=update)


def add_control(_row: Row, judgement: Judgement, facts: Facts) -> Judgement:
    """Add a summary of the control's times to the measurement.

    A judgement without a measurement, or without a timed control, is returned unchanged.
    """
    beside = [one for one in (*facts.controls, *(facts.runs.controls if facts.runs else ())) if one is not None]
    if judgement.measurement is None or not beside:
        return judgement
    measurement = judgement.measurement.model_copy(update={"control": summary(beside)})
    return judgement.model_copy(update={"measurement": measurement})


def add_state_of_runs(row: Row, judgement: Judgement, facts: Facts) -> Judgement:
    """Add the disturbances of the separate runs.

    Unless the model itself caused them, a judged row becomes inconclusive.
    """
    return judgement if facts.runs is None else _with_findings(row, judgement, facts.runs.findings)


def add_state(row: Row, judgement: Judgement, facts: Facts) -> Judgement:
    """Add the disturbances of the row's own measurement.

    Unless the model itself caused them, a judged row becomes inconclusive.
    """
    return _with_findings(row, judgement, facts.findings)


def _with_findings(row: Row, judgement: Judgement, findings: Iterable[Finding]) -> Judgement:
    kinds = OF_MEMORY if row.id.startswith("memory.") else None
    return fold(judgement, dict.fromkeys(findings), kinds)
