"""Judge all facts of a target, in the order in which ``hil doctor`` shows the findings."""

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
    """Return the findings for target ``name``; if none is ``bad``, a session would probably start.

    ``facts`` are those of ``hil.agent.machine.survey``; they may be malformed. ``ahead`` is how many seconds the
    target's clock is ahead of this machine's; ``None`` if unknown.
    """
    case = Case(name, spec, facts, ahead)
    findings = [
        *identity(case),
        *software(case),
        *place(case),
        *condition(case),
    ]
    return [*findings, *_refused_by_session(case, findings)]


def interpreter_finding(name: str, message: str) -> Finding:
    """Return the finding for an interpreter that does not work; ``message`` is ``what: on target 'NAME': fix``."""
    what, _, fix = message.partition(f": on target {name!r}: ")
    return Finding("software", "python", what, "bad", fix)


def _refused_by_session(case: Case, findings: list[Finding]) -> Iterator[Finding]:
    """Yield a finding if a session would refuse the target, though nobody holds it and no other finding is ``bad``."""
    if case.held or any(finding.state == "bad" for finding in findings):
        return
    try:
        confirm(case.name, case.spec, case.facts)
    except HilError as error:
        what, _, fix = str(error).partition(f": on target {case.name!r}: ")
        yield Finding("target", "confirmed", what, "bad", fix)
