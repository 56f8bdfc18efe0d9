"""A diagnosis in words: one sentence for a verdict's reason, and lines for a terminal."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from hil.text import clean

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from hil.diagnose.diagnosis import Culprit, Diagnosis

DIGITS = 3


def sentence(found: Diagnosis) -> str:
    """The worst culprit in one sentence; empty where there is none."""
    if not found.culprits:
        return ""
    worst = found.culprits[0]
    return f"it starts at node {worst.seen.node}, {worst.cause.value}: {worst.evidence[0]}"


def number(value: float | None) -> str:
    """An error or a value in three digits."""
    if value is None:
        return "–"
    return f"{value:.{DIGITS}g}" if math.isfinite(value) else "not finite"


def verdict(found: Diagnosis) -> str:
    """What was found, in a line."""
    if found.culprits:
        count = len(found.culprits)
        return clean(sentence(found) if count == 1 else f"{sentence(found)} ({count} nodes are at fault)")
    worst = max(found.outputs.values(), default=0.0)
    told = f"no node is at fault: each costs what {found.precision} does, the outputs are off by {number(worst)}"
    grown = found.grown[0] if found.grown else None
    return told if grown is None or not grown.alone else clean(f"{told}; most is lost at {grown.node}")


def lines(found: Diagnosis) -> Iterator[str]:
    """Everything worth reading, without colours."""
    for place, culprit in enumerate(found.culprits, start=1):
        yield clean(f"{place}. {culprit.seen.node}: {culprit.cause.value}")
        yield from (clean(f"   {text}") for text in _about(culprit))
    yield from (clean(f"note: {note}") for note in found.notes)


def _about(culprit: Culprit) -> Iterator[str]:
    seen = culprit.seen
    yield from culprit.evidence
    yield (
        f"tensor {seen.tensor!r}: alone off by {number(seen.alone)} of its RMS, healthy is up to {number(seen.bound)}; "
        f"in the whole engine {number(seen.whole)}"
    )
    if culprit.effect is not None:
        yield f"it alone would put the model's outputs off by {number(culprit.effect)}"
    if culprit.after is not None:
        yield f"the outputs are off by {number(culprit.before)}; with this tensor put right, by {number(culprit.after)}"
    others = [name for name in culprit.suspect_nodes if name != seen.node.name]
    if others:
        yield f"in the engine's graph: {', '.join(culprit.suspect_nodes)}"


def table(culprit: Culprit) -> list[tuple[str, str, str]]:
    """Statistics of the tensor on both sides: what, reference, engine."""
    sides: tuple[Mapping[str, object], Mapping[str, object]] = (culprit.reference, culprit.engine)
    rows = []
    for key in ("shape", "dtype", "min", "max", "mean", "rms", "nan", "inf"):
        have = [side.get(key) for side in sides]
        rows.append(
            (key, *(number(one) if isinstance(one, float) else str("–" if one is None else one) for one in have))
        )
    return [(row[0], row[1], row[2]) for row in rows]
