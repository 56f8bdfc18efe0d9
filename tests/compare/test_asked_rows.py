"""Which rows decide the exit code of a comparison; other rows never hide one that counts."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from hil.compare import Settings, Side, Status, compare, document, wording
from hil.compare.schema import Asked
from hil.compare.write_files import rendered
from hil.errors import UserError
from hil.history.derive import derive
from tests.compare.test_comparing import QUIET
from tests.history import run_reports

if TYPE_CHECKING:
    from hil.compare import Compared, Row
    from hil.history import Point

RULE = Settings()
CHECKS = ("latency.p50", "latency.p99", "memory.engine_size")
UNLIMITED = "measured"
NOISY = (0.8, 1.2, 1.0, 0.7, 1.3)


def side(number: int, verdicts: dict[str, str], factors: dict[str, tuple[float, ...] | float]) -> Side:
    """Return a run with five values and the verdict of each check of ``verdicts``. ``factors`` scale the values."""
    derived = derive(run_reports.on_jetpack(number, "6.2"))
    points = [point for point in derived.points if point.check in verdicts and point.precision == "fp32"]
    return Side(str(number), tuple(_point(point, verdicts, factors) for point in points), derived.facts, derived.facts)


def _point(point: Point, verdicts: dict[str, str], factors: dict[str, Any]) -> Point:
    factor = factors.get(point.check, 1.0)
    values = [point.value * each for each in factor] if isinstance(factor, tuple) else [point.value * factor] * 5
    runs = tuple(value * (1 + at / 5000) for at, value in enumerate(values))
    return replace(point, runs=runs, value=runs[0], verdict=verdicts[point.check])


def compared(
    factors: dict[str, tuple[float, ...] | float],
    *,
    limited: tuple[str, ...] = (),
    settings: Settings = RULE,
    verdict: str = "passed",
) -> Compared:
    """Return the comparison of two runs of ``CHECKS`` by ``settings``; the candidate's values are times ``factors``.

    The checks in ``limited`` have a limit; their verdict is "passed" in the base and ``verdict`` in the candidate.
    """
    base = {check: "passed" if check in limited else UNLIMITED for check in CHECKS}
    cand = {check: verdict if check in limited else UNLIMITED for check in CHECKS}
    return compare(side(1, base, {}), side(2, cand, factors), settings, QUIET)


def row(comparison: Compared, check: str) -> Row:
    """Return the row of ``check``."""
    return next(each for each in comparison.rows if each.check == check)


def test_by_default_p50_counts_and_the_rest_is_information() -> None:
    """By default only p50 counts: if it is worse or unclear, the comparison does not pass; p99 is only shown."""
    for factor, status in ((1.5, Status.WORSE), (NOISY, Status.UNCLEAR)):
        comparison = compared({"latency.p99": factor})
        assert (row(comparison, "latency.p99").status, row(comparison, "latency.p99").counts) == (status, False)
        assert row(comparison, "latency.p50").asked is Asked.DEFAULT
        assert comparison.passed
        assert not compared({"latency.p50": factor}).passed


def test_without_a_row_that_counts_nothing_passes() -> None:
    """A comparison without any row that counts does not pass, even if all its rows are the same."""
    comparison = compared({})
    alone = comparison.model_copy(update={"rows": tuple(each for each in comparison.rows if not each.counts)})
    assert {each.status for each in alone.rows} == {Status.SAME}
    assert not alone.passed
    assert wording.headline(document([alone], RULE)).startswith("nothing that counts could be compared")


def test_a_row_that_counts_and_is_missing_prevents_a_pass() -> None:
    """A missing row prevents a pass if it counts; p50 counts by default, p99 does not."""
    both = dict.fromkeys(CHECKS, UNLIMITED)
    for lacking, passes in (("latency.p50", False), ("latency.p99", True)):
        others = {check: verdict for check, verdict in both.items() if check != lacking}
        comparison = compare(side(1, both, {}), side(2, others, {}), RULE, QUIET)
        assert row(comparison, lacking).status is Status.MISSING
        assert comparison.passed is passes


def test_named_rows_replace_the_default() -> None:
    """With ``--row`` only the named rows count, by id, id and model, or id, model and precision, with wildcards."""
    for pattern in ("latency.p99", "latency.p9*", "latency.p99 digits", "*.p99 digits fp32"):
        settings = Settings(rows=(pattern,))
        comparison = compared({"latency.p50": 1.5}, settings=settings)
        assert (row(comparison, "latency.p50").counts, comparison.passed) == (False, True)
        assert not compared({"latency.p99": NOISY}, settings=settings).passed


@pytest.mark.parametrize("pattern", ["latency.p77", "latency.p99 arm", "a b c d", "", "contract.signature"])
def test_a_pattern_that_names_no_compared_row_is_a_mistake(pattern: str) -> None:
    """A mistyped row, or one that is never compared, is a mistake; the message lists the checks."""
    settings = Settings(rows=("latency.p50", pattern))
    with pytest.raises(UserError, match=r"no compared row matches.*latency\.p50, latency\.p99"):
        document([compared({}, settings=settings)], settings)


def test_a_limit_asks_for_no_worsening_and_to_be_met() -> None:
    """A row with a limit prevents a pass if it is worse, or if it is unclear and the candidate misses the limit."""
    limited = ("latency.p99",)
    assert row(compared({}, limited=limited), "latency.p99").asked is Asked.LIMIT
    assert not compared({"latency.p99": 1.5}, limited=limited).passed
    unclear = compared({"latency.p99": NOISY}, limited=limited)
    assert (row(unclear, "latency.p99").status, unclear.passed) == (Status.UNCLEAR, True)
    assert "the candidate meets its limit" in row(unclear, "latency.p99").reason
    for verdict in ("failed", "warned", "inconclusive"):
        assert not compared({"latency.p99": NOISY}, limited=limited, verdict=verdict).passed


def test_a_size_with_a_limit_counts() -> None:
    """An engine that grew counts if somebody set a limit of its size, and is information otherwise."""
    assert not compared({"memory.engine_size": 1.5}, limited=("memory.engine_size",)).passed
    assert compared({"memory.engine_size": 1.5}).passed


def test_a_regression_table_asks_about_what_the_regression_checks_compare() -> None:
    """With a ``regression`` table for its model, an unclear p99 counts although its limit is met."""
    for models, passes in ((("digits",), False), (("arm",), True)):
        settings = Settings(regression=models)
        comparison = compared({"latency.p99": NOISY}, limited=("latency.p99",), settings=settings)
        assert comparison.passed is passes
    assert row(compared({}, settings=Settings(regression=("digits",))), "latency.p99").asked is Asked.REGRESSION


def test_a_regression_check_of_a_run_asks_too() -> None:
    """A row that a run compared with its baseline counts in a comparison too."""
    sides = [side(number, dict.fromkeys(CHECKS, UNLIMITED), {}) for number in (1, 2)]
    checked = replace(next(point for point in sides[1].points if point.check == "latency.p99"), unit="1")
    checked = replace(checked, check="regression.latency_p99", verdict="passed")
    with_check = replace(sides[1], points=(*sides[1].points, checked))
    assert row(compare(sides[0], with_check, RULE, QUIET), "latency.p99").asked is Asked.REGRESSION


def test_every_format_marks_information() -> None:
    """A worse row that does not count is listed with how to make it count, and each format marks it as information."""
    shown = document([compared({"latency.p99": 1.5})], RULE)
    assert shown.passed
    (line,) = wording.worse_unasked(shown)
    assert "pass --row latency.p99" in line
    for kind in ("markdown", "html"):
        text = rendered(shown, kind)
        assert "(information)" in text
        assert "it does not affect the exit code" in text
    assert '"counts": false' in rendered(shown, "json")
    assert "for information: 1 worse" in wording.headline(shown)
