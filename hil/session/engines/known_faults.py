"""What ``hil lint`` finds in the file that an engine is built from, for the board that the session holds."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hil.errors import UserError
from hil.lint import examine
from hil.lint.machine import machine_at

if TYPE_CHECKING:
    from pathlib import Path

    from hil.session.context import Context

SHOWN = 3
"""The most findings that a message quotes."""


def faults_text(session: Context, name: str, precision: str, source: Path) -> str:
    """Print the findings of ``hil lint`` in ``source``, a file of model ``name``, and return the first three as text.

    The text is appended to the message of a failed build. It is empty for a runtime that builds no engines, and for a
    file that cannot be examined.
    """
    machine = machine_at(session.spec, session.facts)
    if not machine.compiles:
        return ""
    try:
        # The target's own parser will read the file, so no other parser is needed here.
        findings = examine(source, machine, spec=session.model(name), name=name, parser=False).findings
    except UserError:
        return ""
    known = [f"hil lint: {one}" for one in findings if one.level != "unknown"]
    for text in known:
        session.progress(f"{name} {precision}: {text}")
    return "".join(f"; {text}" for text in known[:SHOWN])
