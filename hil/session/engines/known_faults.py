"""Faults in the file that an engine is built from: what ``hil lint`` finds for the board, and what hil did itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hil.errors import HilError, UserError
from hil.lint import examine
from hil.lint.machine import machine_at
from hil.onnx_files.reference import cpu_session

if TYPE_CHECKING:
    from pathlib import Path

    from hil.quantize import Quantized
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


def own_fault_text(quantized: Quantized | None, path: str) -> str:
    """Return what to append to a build's error if hil's quantizer made a file that cannot be loaded; else empty.

    ``path`` is the model's file.
    """
    if quantized is None:
        return ""
    try:
        cpu_session(quantized.path)
    except HilError:
        return (
            f": hil quantized this file itself, from {path}, and ONNX Runtime cannot load it: list the node at fault "
            "under exclude_nodes in the model's calibration, or write a file that another tool quantized as deployed"
        )
    return ""
