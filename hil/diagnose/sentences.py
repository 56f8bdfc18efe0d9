"""Describes a diagnosis as text: one sentence for a verdict's reason, and lines for a terminal."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from hil.text import clean

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from hil.diagnose.diagnosis import Culprit, Diagnosis

DIGITS = 3
MOST_NODES = 3
"""How many nodes of the engine's graph are named where the signal ends."""


def sentence(diagnosis: Diagnosis) -> str:
    """Return one sentence about the worst culprit; empty if there is no culprit."""
    if not diagnosis.culprits:
        return ""
    worst = diagnosis.culprits[0]
    text = f"the error starts at node {worst.seen.node}, {worst.cause.value}: {worst.evidence[0]}"
    return f"{text}{_place(diagnosis)}"


def _place(diagnosis: Diagnosis) -> str:
    """Return which step was examined, as text in parentheses; empty for a model without a state."""
    return "" if diagnosis.step is None else f" (in {diagnosis.step}, with the reference's state before it)"


def signal_end(diagnosis: Diagnosis) -> str:
    """Return the node at which the signal ends, as one sentence; empty if it does not end."""
    end = diagnosis.signal_end
    if end is None:
        return ""
    others = [name for name in end.suspect_nodes if name != end.node.name]
    built = f" (in the engine's graph: {', '.join(end.suspect_nodes[-MOST_NODES:])})" if others else ""
    share = "its values" if end.constant == end.live else f"{end.constant} of its {end.live} slices"
    value = "" if end.value is None else f" ({number(end.value)})"
    return f"the signal ends at node {end.node}{built}: {share} are constant{value} in the engine, not in the model"


def number(value: float | None) -> str:
    """Return ``value`` with three significant digits; ``not finite`` for NaN and infinity, a dash for ``None``."""
    if value is None:
        return "–"
    return f"{value:.{DIGITS}g}" if math.isfinite(value) else "not finite"


def verdict(diagnosis: Diagnosis) -> str:
    """Return the result of the diagnosis in one line."""
    if diagnosis.culprits:
        count = len(diagnosis.culprits)
        text = sentence(diagnosis)
        return clean(text if count == 1 else f"{text} ({count} nodes are at fault)")
    error = number(max(diagnosis.outputs.values(), default=0.0))
    text = (
        f"no node is at fault: every node is as accurate as {diagnosis.precision} allows; "
        f"the relative error of the outputs is {error}{_place(diagnosis)}"
    )
    worst = diagnosis.grown[0] if diagnosis.grown else None
    return text if worst is None or not worst.alone else clean(f"{text}; the largest error arises at {worst.node}")


def lines(diagnosis: Diagnosis) -> Iterator[str]:
    """Yield the culprits with their evidence, then the notes, as plain lines without colours."""
    for rank, culprit in enumerate(diagnosis.culprits, start=1):
        yield clean(f"{rank}. {culprit.seen.node}: {culprit.cause.value}")
        yield from (clean(f"   {text}") for text in _about(culprit))
    if end := signal_end(diagnosis):
        yield clean(end)
    yield from (clean(f"note: {note}") for note in diagnosis.notes)


def _about(culprit: Culprit) -> Iterator[str]:
    errors = culprit.seen
    yield from culprit.evidence
    yield (
        f"tensor {errors.tensor!r}: relative error {number(errors.alone)} when its nodes run alone "
        f"(at most {number(errors.bound)} is normal), {number(errors.whole)} in the whole engine"
    )
    if culprit.effect is not None:
        yield f"this error alone would change the model's outputs by {number(culprit.effect)}"
    if culprit.after is not None:
        yield f"error of the outputs: {number(culprit.before)}; with this tensor corrected: {number(culprit.after)}"
    others = [name for name in culprit.suspect_nodes if name != errors.node.name]
    if others:
        yield f"in the engine's graph: {', '.join(culprit.suspect_nodes)}"


def table(culprit: Culprit) -> list[tuple[str, str, str]]:
    """Return the statistics of the culprit's tensor as rows of text: (statistic, reference's value, engine's value)."""
    sides: tuple[Mapping[str, object], Mapping[str, object]] = (culprit.reference, culprit.engine)
    rows = []
    for key in ("shape", "dtype", "min", "max", "mean", "rms", "nan", "inf"):
        reference, engine = (_statistic(side.get(key)) for side in sides)
        rows.append((key, reference, engine))
    return rows


def _statistic(value: object) -> str:
    return number(value) if isinstance(value, float) else str("–" if value is None else value)
