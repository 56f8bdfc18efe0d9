"""List the amendments: changes to the judgement that a check made, in the order in which they are applied."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from hil.session.amendments import evidence, expiry, explanation, foreign, measurement

if TYPE_CHECKING:
    from collections.abc import Callable

    from hil.results import Judgement, Row
    from hil.session.amendments.row_facts import Facts


@dataclass(frozen=True)
class Amendment:
    """One named change; ``apply`` is a pure function that returns the changed judgement.

    Its arguments are the row, the judgement so far, and the facts.
    """

    name: str
    apply: Callable[[Row, Judgement, Facts], Judgement]


AMENDMENTS: tuple[Amendment, ...] = (
    Amendment("details", measurement.add_details),
    Amendment("run values", measurement.add_run_values),
    Amendment("control", measurement.add_control),
    Amendment("state of the runs", measurement.add_state_of_runs),
    Amendment("state", measurement.add_state),
    Amendment("slowest nodes", explanation.add_slowest_nodes),
    Amendment("diagnosis", explanation.add_diagnosis),
    Amendment("saturation", explanation.add_saturation),
    Amendment("foreign engine", foreign.warn_of_foreign_engine),
    Amendment("limit expiry", expiry.expire_limit),
    Amendment("tolerance expiry", expiry.expire_tolerance),
    Amendment("evidence", evidence.set_evidence),
)
"""In the order of application: each amendment receives the judgement that the earlier amendments returned.

Disturbances come before expiry, so that a disturbed row is inconclusive because of its disturbance. Evidence comes
last, since it describes the verdict that is reported.
"""


def amended(row: Row, judgement: Judgement, facts: Facts) -> Judgement:
    """Return ``judgement`` with all ``AMENDMENTS`` applied, in their order."""
    for amendment in AMENDMENTS:
        judgement = amendment.apply(row, judgement, facts)
    return judgement
