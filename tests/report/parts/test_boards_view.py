from __future__ import annotations

import pytest

from hil.report import html, markdown, terminal
from hil.report.parts import boards_view
from hil.report.schema import BoardUsed, Report
from hil.results import ControlSummary
from tests.report import sample


def report_of(times: dict[str, list[float]]) -> Report:
    """Return a report whose boards timed the control with these medians, one for each model."""
    plain, rows = sample.draft(), []
    template = next(row for row in plain.checks if row.measurement is not None)
    for board, medians in times.items():
        for number, median in enumerate(medians):
            control = ControlSummary(workload="net v1", windows=9, median=median, spread=0.01)
            assert template.measurement is not None
            measurement = template.measurement.model_copy(update={"control": control})
            update = {"model": f"m{board}{number}", "board": board, "measurement": measurement}
            rows.append(template.model_copy(update=update))
    boards = {name: BoardUsed(module="orin-nx-16gb", serial=f"14{at}") for at, name in enumerate(times)}
    target = plain.target.model_copy(update={"boards": boards})
    return plain.model_copy(update={"checks": tuple(rows), "target": target})


@pytest.mark.parametrize(
    ("times", "named"),
    [
        ({"a": [1.0], "b": [1.001], "c": [1.18]}, ["c takes 18% longer than its siblings a, b"]),
        ({"a": [1.0], "b": [1.0], "c": [0.8]}, ["c takes 20% less time than its siblings a, b"]),
        ({"a": [1.0], "b": [1.01], "c": [1.02], "d": [1.3, 1.31]}, ["d takes 29% longer"]),
        ({"a": [1.0], "b": [1.2]}, ["b takes 20% longer than a"]),
        ({"a": [1.0], "b": [1.0], "c": [1.2], "d": [1.2]}, ["c takes 20% longer than a"]),
        ({"a": [1.0], "b": [1.02], "c": [1.04]}, []),
        ({"a": [1.0], "b": [1.0], "c": [1.0, 1.4]}, []),
        ({"a": [1.0, 1.3]}, []),
        ({}, []),
    ],
    ids=["slow", "fast", "of-four", "two", "two-of-four", "spread", "unsteady", "alone", "none"],
)
def test_a_board_that_differs_from_its_siblings_is_named(times: dict[str, list[float]], named: list[str]) -> None:
    """A board whose control differs from those of its siblings is named."""
    lines = boards_view.unlike_lines(report_of(times))
    assert len(lines) == len(named)
    for line, words in zip(lines, named, strict=True):
        assert words in line


@pytest.mark.parametrize(
    ("times", "differ", "named"),
    [
        ({"a": [1.0], "b": [1.0], "c": [1.18]}, 0.2, []),
        ({"a": [1.0], "b": [1.001], "c": [1.04]}, 0.03, ["c takes 4% longer than its siblings a, b"]),
        ({"a": [1.0], "b": [1.03], "c": [1.08]}, 0.04, ["c takes 6% longer"]),
        ({"a": [1.0], "b": [1.03], "c": [1.08]}, 0.02, ["c takes 8% longer than a"]),
        ({"a": [1.0], "b": [1.04]}, 0.03, ["b takes 4% longer than a"]),
        ({"a": [1.0, 1.06], "b": [1.04]}, 0.03, []),
    ],
    ids=["within", "beyond", "wider-siblings", "all-apart", "two", "unsteady"],
)
def test_calibrated_boards_are_judged_by_their_calibration(
    times: dict[str, list[float]], differ: float, named: list[str]
) -> None:
    """A calibrated board is named if it differs by more than at the calibration; the line states that difference."""
    plain = report_of(times)
    target = plain.target.model_copy(update={"boards_differ": {"net v1": differ}})
    lines = boards_view.unlike_lines(plain.model_copy(update={"target": target}))
    assert len(lines) == len(named)
    for line, words in zip(lines, named, strict=True):
        assert words in line
        assert f"(at most {differ:.1%} when they were calibrated)" in line
    other = plain.target.model_copy(update={"boards_differ": {"net v2": differ}})
    unknown = boards_view.unlike_lines(plain.model_copy(update={"target": other}))
    assert unknown == boards_view.unlike_lines(plain)


def test_times_of_different_workloads_are_not_compared() -> None:
    """Times of different versions of the control's network are not compared."""
    report = report_of({"a": [1.0], "b": [2.0]})
    measurement = report.checks[1].measurement
    assert measurement is not None
    assert measurement.control is not None
    other = measurement.control.model_copy(update={"workload": "net v2"})
    changed = report.checks[1].model_copy(update={"measurement": measurement.model_copy(update={"control": other})})
    assert boards_view.unlike_lines(report.model_copy(update={"checks": (report.checks[0], changed)})) == []


def test_each_view_shows_boards_and_the_one_that_differs() -> None:
    """Terminal, page and summary name the board that differs; terminal and page show which board judged what."""
    report = report_of({"orin-a": [1.0], "orin-b": [1.0], "orin-c": [1.2]})
    texts = terminal.as_text(report, width=200), html.render(report), markdown.render(report)
    for text in texts:
        assert "orin-c takes 20% longer than its siblings" in text.replace("\u2060", "")
    assert "810 µs  orin-a" in texts[0]
    assert "<em>on orin-a</em>" in texts[1]
    assert "serial 141" in texts[1]


def test_one_board_has_no_column() -> None:
    """A report of one board, or without boards, has no column of boards."""
    for report in (report_of({"orin-a": [1.0]}), sample.passed()):
        assert boards_view.board_of(report) == {}
        assert "board" not in terminal.as_text(report, width=200).split("p50")[-1]
        assert "<em>on " not in html.render(report)
