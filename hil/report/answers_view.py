"""Show the answers of outputs whose kind is declared: for the page, the summary, the terminal and ``hil parity``."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from hil.report.shown_text import one_line
from hil.results import CLAIM
from hil.units import show

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from hil.report.view import Group

CHECKS = ("parity.outputs", "int8.drop", "sequence.free_running")
"""The checks that compare answers."""

LONGEST = 160


@dataclass(frozen=True)
class Answers:
    """The comparison of the answers that are read from one or several outputs, as text.

    Attributes:
        output: the outputs, comma-separated.
        kind: their kind.
        verdict: the verdict on these answers; empty if it is not known.
        compared: how many samples were compared, and how many of them count.
        changed: the share of answers that changed.
        interval: the interval of ``changed``; empty if it is not known.
        limit: the largest accepted share.
        drift: the mean change of scores; a dash without scores.
        drift_limit: the largest accepted change of scores in either direction; empty without scores.
        f1: the F1 of the answers; a dash without scores.
        note: a remark, such as how many samples would settle the verdict; empty without one.
        weaker: whether the answers passed only by ``no_disagreement_in``.
    """

    output: str
    kind: str
    verdict: str
    compared: str
    changed: str
    interval: str
    limit: str
    drift: str
    drift_limit: str
    f1: str
    note: str
    weaker: bool

    @property
    def line(self) -> str:
        """The comparison in one line."""
        limit = ", ".join(filter(None, (self.interval, f"at most {self.limit}")))
        parts = [f"changed {self.changed} ({limit})", self.compared]
        drift = f"score drift {self.drift}" + f" (at most {self.drift_limit})" * bool(self.drift_limit)
        parts += [drift] * (self.drift != "–") + [f"F1 {self.f1}"] * (self.f1 != "–")
        return f"{self.output} ({self.kind}): {', '.join(filter(None, [*parts, self.note]))}"


def tables(group: Group) -> list[tuple[str, list[Answers]]]:
    """Return the id of each check of ``group`` that compared answers, and what was compared."""
    shown = ((check.id, list(answers(check.details))) for check in group.checks if check.id in CHECKS)
    return [(check, rows) for check, rows in shown if rows]


def answers(details: Mapping[str, Any]) -> Iterator[Answers]:
    """Yield the comparisons in a check's ``details``. A value that the report does not have is a dash or empty."""
    listed = details.get("answers")
    for one in listed if isinstance(listed, list) else ():
        if isinstance(one, dict):
            yield _answers(one)


def _answers(one: Mapping[str, Any]) -> Answers:
    outputs, f1 = one.get("outputs"), _number(one.get("f1"))
    low, high, level = (_number(one.get(key)) for key in ("low", "high", "confidence"))
    drift, most = _number(one.get("score_drift")), _number(one.get("score_drift_limit"))
    interval = ""
    if low is not None and high is not None and level is not None:
        interval = f"{show(low, '1')} to {show(high, '1')} at {100 * level:.4g} %"
    return Answers(
        output=_text(", ".join(map(str, outputs)) if isinstance(outputs, list) else "–"),
        kind=_text(one.get("kind") or "–"),
        verdict=_text(one["verdict"]) if "verdict" in one else "",
        compared=_compared(one),
        changed=_share(one.get("changed")),
        interval=interval,
        limit=_share(one.get("limit")),
        drift="–" if drift is None else f"{drift:+.2g}" if drift else "0",
        drift_limit="" if most is None else f"{most:g}",
        f1="–" if f1 is None else f"{f1:.3f}",
        note=_note(one),
        weaker=CLAIM in one,
    )


def _compared(one: Mapping[str, Any]) -> str:
    total, counted, distinct = (_number(one.get(key)) for key in ("samples", "counted", "distinct"))
    if total is None or counted is None:
        return "–"
    silent = f", {counted:,.0f} with an answer" if counted != total else ""
    copies = f", {distinct:,.0f} distinct" if distinct is not None and distinct != counted else ""
    return f"{total:,.0f} samples{silent}{copies}"


def _note(one: Mapping[str, Any]) -> str:
    if CLAIM in one:
        return _text(f"weaker claim: {one[CLAIM]}")
    needed = _number(one.get("needed"))
    return "" if needed is None else f"about {needed:,.0f} samples would settle it"


def _share(value: object) -> str:
    known = _number(value)
    return "–" if known is None else show(known, "1")


def _number(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        return None
    return float(value)


def _text(value: object) -> str:
    return one_line(str(value), LONGEST)
