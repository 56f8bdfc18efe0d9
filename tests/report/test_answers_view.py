"""Answers of outputs whose kind is declared, in the page, the summary and the terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from hil.gate.gate import seal
from hil.report import html, markdown, terminal
from hil.results import Verdict
from tests.metrics.agreement.test_agreement import BOXES, CLASSES, boxes, judged, scores
from tests.report import sample
from tests.report.test_pages import HOSTILE, page

if TYPE_CHECKING:
    from hil.report.schema import Report


def with_answers(**changes: object) -> Report:
    """Return a report in which the answers of a classifier with 48 samples pass by the weaker claim."""
    same = {"y": scores(samples=48), "boxes": boxes(samples=48)}
    judgement = judged(same, same, {"no_disagreement_in": 48}, y=CLASSES, boxes=BOXES)
    for one in judgement.details["answers"]:
        one.update(changes)
    return seal(sample.with_row(sample.draft(), "parity.outputs", details=judgement.details))


def test_answers_are_in_every_view() -> None:
    """All views have the answers of outputs whose kind is declared, with limit, drift and F1, and the weaker claim."""
    report = with_answers()
    columns = (("y", "classification"), ("boxes", "detection"))
    for text in (html.render(report), markdown.render(report), terminal.as_text(report, width=300)):
        for parts in (*columns, ("0 %", "5 %", "0.05", "1.000", "weaker claim: 48 samples without a disagreement")):
            assert all(part in text for part in parts), text
    assert page(report).headers_without_scope == 0


def test_samples_that_would_settle_it_are_in_every_view() -> None:
    """An inconclusive agreement has the number of samples that would settle it, but no advice to declare a kind."""
    few = {"y": scores(samples=20)}
    judgement = judged(few, few, y=CLASSES)
    changes = {"verdict": Verdict.INCONCLUSIVE, "reason": judgement.reason, "details": judgement.details}
    report = seal(sample.with_row(sample.draft(), "parity.outputs", **changes))
    for text in (html.render(report), markdown.render(report), terminal.as_text(report, width=300)):
        assert "about 59 samples would settle it" in text
        assert "write what the outputs mean" not in text


@pytest.mark.parametrize(
    "changes",
    [{"verdict": HOSTILE, "kind": HOSTILE}, {"changed": None, "low": "x", "f1": True, "outputs": 3}, {"limit": {}}],
)
def test_odd_answers_harm_no_view(changes: dict[str, object]) -> None:
    """A report of another program, with other values in its answers, is shown without an error and without markup."""
    report = with_answers(**changes)
    assert "script" not in page(report).tags
    assert markdown.render(report)
    assert terminal.as_text(report)
