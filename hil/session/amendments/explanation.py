"""Amendments that explain a bad verdict without changing it: the slowest nodes, and the node at fault."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hil.results import Verdict

if TYPE_CHECKING:
    from collections.abc import Mapping

    from hil.results import Judgement, Row
    from hil.session.amendments.row_facts import Facts

NODES_NAMED = 3
COMPARED = ("parity.", "int8.", "sequence.", "property.")
"""The beginnings of the ids of checks that compare an engine's values."""

SATURATING = (
    "8-bit sums may saturate on this processor, which lacks VNNI, since several nodes share a quantized constant: "
    "give each node its own copy of the constant, or judge on another processor"
)
NAME_LENGTH = 60


def add_slowest_nodes(_row: Row, judgement: Judgement, facts: Facts) -> Judgement:
    """Name the first three of ``facts.slowest_nodes`` in the reason, and list all of them in the details."""
    nodes = facts.slowest_nodes
    if nodes is None:
        return judgement
    named = ", ".join(map(_short, nodes[:NODES_NAMED]))
    reason = f"{judgement.reason}; slowest nodes: {named}" if named else judgement.reason
    details = {**judgement.details, "slowest_nodes": [dict(node) for node in nodes]}
    return judgement.model_copy(update={"reason": reason, "details": details})


def _short(node: Mapping[str, Any]) -> str:
    """Return a node's name, type and share of the time as text."""
    name, kind = str(node["name"]), str(node["op"])
    if len(name) > NAME_LENGTH:
        name = f"{name[: NAME_LENGTH // 2]}…{name[-NAME_LENGTH // 2 + 1 :]}"
    return f"{name} ({kind}) {node['share']:.0%}" if kind else f"{name} {node['share']:.0%}"


def add_saturation(row: Row, judgement: Judgement, facts: Facts) -> Judgement:
    """Extend the reason of a failed or inconclusive comparison if the engine's sums may saturate on this processor."""
    bad = judgement.verdict in {Verdict.FAILED, Verdict.INCONCLUSIVE}
    if not (facts.saturating_sums and bad and row.id.startswith(COMPARED)):
        return judgement
    return judgement.model_copy(update={"reason": f"{judgement.reason}; {SATURATING}"})


def add_diagnosis(_row: Row, judgement: Judgement, facts: Facts) -> Judgement:
    """Add the diagnosis to the details and, if it names a cause, its sentence to the reason."""
    diagnosis = facts.diagnosis
    if diagnosis is None:
        return judgement
    reason = f"{judgement.reason}; {diagnosis.sentence}" if diagnosis.sentence else judgement.reason
    return judgement.model_copy(update={"reason": reason, "details": {**judgement.details, **diagnosis.details}})
