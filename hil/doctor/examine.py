"""All that is looked at, in the order in which it is told."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hil.doctor.board_identity import findings as identity
from hil.doctor.condition import findings as condition
from hil.doctor.findings import Case, Finding
from hil.doctor.software import findings as software
from hil.doctor.store_and_clock import findings as place
from hil.errors import HilError
from hil.session.target.board_match import confirm

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from hil.config.spec import TargetSpec


def examine(name: str, spec: TargetSpec, facts: Mapping[str, Any], ahead: float | None = None) -> list[Finding]:
    """What the facts of ``hil.agent.machine.survey`` say of target ``name``; takes any facts and raises nothing.

    ``ahead`` is by how many seconds its clock is ahead of this machine's. Nothing ``bad`` means that a session would
    begin here, as far as can be told without one.
    """
    case = Case(name, spec, facts, ahead)
    found = [
        *identity(case),
        *software(case),
        *place(case),
        *condition(case),
    ]
    return [*found, *_overlooked(case, found)]


def trouble(name: str, message: str) -> Finding:
    """An interpreter that does not answer, from the message (``what: on target 'NAME': mend``) that says why."""
    what, _, mend = message.partition(f": on target {name!r}: ")
    return Finding("software", "python", what, "bad", mend)


def _overlooked(case: Case, found: list[Finding]) -> Iterator[Finding]:
    """What a session would refuse and none of the findings says: whoever is told "ready" must not be refused then."""
    if case.held or any(one.state == "bad" for one in found):
        return
    try:
        confirm(case.name, case.spec, case.facts)
    except HilError as error:
        what, _, mend = str(error).partition(f": on target {case.name!r}: ")
        yield Finding("target", "confirmed", what, "bad", mend)
