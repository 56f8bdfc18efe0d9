"""Figures: spikes are visible, paths are short, and no file outside the report's folder is read."""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from hil.catalogue import CATALOGUE
from hil.gate.gate import seal
from hil.report import html, over_time, plots, select_plots, svg, view
from hil.results import Limit, Measurement, Sense
from hil.series import Series
from tests.report import sample

if TYPE_CHECKING:
    from pathlib import Path

finite = st.floats(-1e6, 1e6)
TARGET = Limit(value=30.0, unit="1/s", sense=Sense.AT_LEAST, source="t", fail_at=24.0)
AT_MOST = Limit(value=0.005, unit="s", sense=Sense.AT_MOST, source="t")


def series(duration: Any, gap: float = 0.0, **facts: Any) -> Series:
    """Return a series of back-to-back inferences, with ``gap`` seconds before the second half."""
    took = np.asarray(duration, dtype=np.float64)
    start = np.cumsum(took) - took
    start[took.size // 2 :] += gap
    return Series(start, took, 1, {"timed": "x"}, facts)


@given(st.lists(finite, min_size=1, max_size=500), st.integers(1, 60))
def test_thinning_keeps_every_extreme(values: list[float], bins: int) -> None:
    """Thinning keeps the smallest and the largest value, for any number of intervals."""
    at = np.arange(len(values), dtype=np.float64)
    middle, low, mid, high = svg.thinned(at, np.asarray(values), bins)
    assert low.min() == min(values)
    assert high.max() == max(values)
    assert middle.size == low.size == mid.size == high.size <= bins
    assert bool(((low <= mid) & (mid <= high)).all())


@given(st.lists(st.tuples(st.integers(-999, 999), st.integers(-999, 999)), min_size=1, max_size=40))
def test_a_path_goes_through_its_points(points: list[tuple[int, int]]) -> None:
    """The relative moves of a path lead through every corner point to the last point."""
    text = svg.line("x", [x for x, _ in points], [y for _, y in points])
    moves = text[text.index("M") + 1 : text.index('"/>')]
    start, _, rest = moves.partition("l")
    x, y = map(int, start.split())
    numbers = [int(n) for n in rest.replace("-", " -").split()]
    corners = [(x, y)]
    for dx, dy in zip(numbers[::2], numbers[1::2], strict=True):
        corners.append((corners[-1][0] + dx, corners[-1][1] + dy))
    assert corners[0] == points[0]
    assert corners[-1] == points[-1]
    flat = [b for a, b, c in zip(points, points[1:], points[2:], strict=False) if not a[1] == b[1] == c[1]]
    assert all(point in corners for point in flat)


def test_one_slow_second_is_visible() -> None:
    """One stall among 20,000 inferences is in the descriptions of the frame rate and of the latency."""
    took = np.full(20_000, 0.0005)
    took[10_000] = 1.2
    drawn = over_time.rate(series(took), TARGET, 40)
    assert "slowest second 0.8 /s" in drawn
    assert "fails under 80%" in drawn
    drawn = over_time.latency(series(took), AT_MOST, 40)
    assert "from 500 µs to 1.2 s" in drawn


def test_the_state_of_the_board_is_described() -> None:
    """Clocks, the hottest sensor and throttling are described with their ranges; constant ones are in one line."""
    t = [0.1 * n for n in range(20)]
    window = {
        "t": t, "interval": 0.1, "n": 2000, "clock.gpu": [1.3e9] * 10 + [9e8] * 10, "clock.emc": [3.2e9] * 20,
        "temperature.cpu-thermal": [50.0] * 20, "temperature.gpu-thermal": [60.0 + n for n in range(20)],
        "temperature.PMIC-Die": [100.0] * 20, "throttle.gpu-alert": [0] * 10 + [1] * 10, "power.total": [None] * 20,
    }  # fmt: skip
    drawn = over_time.latency(series(np.full(2000, 0.001), windows=[window]), AT_MOST, 40)
    for text in ("GPU clock 900 MHz to 1.3 GHz", "gpu-thermal 60 °C to 79 °C", "throttling active for 1 s"):
        assert text in drawn, text
    assert "unchanged: memory clock 3.2 GHz" in drawn
    assert "PMIC" not in drawn
    assert "Power" not in drawn


odd = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
NOT_A_NUMBER = re.compile(r"\b(nan|inf)\b")
NAMES = ("t", "interval", "clock.gpu", "temperature.x", "power.total", "throttle.gpu", "throttle.x", "n")


huge = st.integers(-(10**400), 10**400) | st.sampled_from([1e308, -1e308, 5e-324, math.inf, -math.inf, math.nan])
numbers = st.none() | st.integers(-5, 5) | huge
columns = st.integers(0, 5).flatmap(lambda n: st.lists(numbers, min_size=n, max_size=n))
rows = st.integers(1, 4).flatmap(
    lambda n: st.dictionaries(st.sampled_from(NAMES), st.lists(numbers, min_size=n, max_size=n), min_size=5)
)


@given(st.dictionaries(st.sampled_from(NAMES), odd | columns | numbers, max_size=8) | rows)
@example({"interval": [], "clock.gpu": [], "temperature.x": [], "t": [None, None, None], "throttle.gpu": [0, 0, -1]})
@example({"t": [0.0, None, 0.02], "throttle.x": [1, 1, 1], "interval": 10**400, "power.total": [1, None, 10**400]})
@example({"t": [2, 1, 0], "throttle.x": [1, 1, 0], "power.total": [1, 2, 3]})
def test_malformed_telemetry_does_not_break_a_figure(window: dict[str, Any]) -> None:
    """Malformed columns, and samples without a time or a value, are left out."""
    timed = series(np.full(50, 0.1), windows=[window])
    for drawn in (over_time.latency(timed, AT_MOST, 20), over_time.rate(timed, TARGET, 20)):
        assert drawn.startswith("<svg")
        assert not NOT_A_NUMBER.search(drawn)


@given(columns, columns, columns, numbers)
@example([0, 10**400], [1, 2], [], None)
@example([0, 1], [1, 2], [1e308, 1], math.nan)
def test_malformed_numbers_do_not_break_the_memory_figure(
    runs: object, rss: object, device: object, baseline: object
) -> None:
    """A soak with a malformed or too large number has no figure."""
    resident = {"runs": runs, "rss": rss, "device": device}
    assert not NOT_A_NUMBER.search(plots.memory(resident, {"baseline": baseline}, AT_MOST))


@given(columns, columns, st.floats(allow_nan=False, allow_infinity=False))
@example([0, 1, 10**400], [1, 2], 0.0)
@example([0, 1], [10**400], 0.0)
def test_malformed_numbers_do_not_break_a_histogram(edges: list[Any], counts: list[Any], value: float) -> None:
    """Malformed edges and counts are not a histogram; a bound may lie far outside of it."""
    usable = select_plots.edges_and_counts({"edges": edges, "counts": counts})
    if usable is None:
        usable = ([0.0, 1.0], [1.0])
    measured = Measurement(value=value, unit="s", low=value, high=value, confidence=0.99, n=1)
    limit = Limit(value=value, unit="s", sense=Sense.AT_MOST, source="t")
    assert not NOT_A_NUMBER.search(plots.histogram(*select_plots.coarser(*usable, 3), measured, limit))
    row = sample.checks()[0].model_copy(update={"measurement": measured, "limit": limit})
    assert not NOT_A_NUMBER.search(plots.gauge(row))


@pytest.mark.parametrize("log", [False, True])
@pytest.mark.parametrize("ends", [(0.0, 0.0), (0.0, 5e-324), (1.0, 1.0), (2.0, 1.0), (0.0, 1e150), (-1e149, 1e149)])
def test_a_scale_maps_every_number_into_itself(ends: tuple[float, float], log: bool) -> None:
    """Every value gets a pixel within the scale, and ``all`` gives the same pixels as single calls."""
    scale = svg.Scale(*ends, 10, 20, log=log)
    values = np.asarray([-math.inf, -1.0, 0.0, 5e-324, 1.0, 1e150, math.inf])
    assert [scale(value) for value in values] == scale.all(values).tolist()
    assert all(10 <= pixel <= 20 for pixel in scale.all(values))
    assert log or len(scale.ticks()) < 30


def test_values_that_cannot_be_drawn_give_no_line() -> None:
    """Without any drawable value there is no line, no area and no error."""
    for values in (np.empty(0), np.full(3, np.nan), np.full(3, np.inf)):
        thin = svg.thinned(np.arange(float(values.size)), values, 5)
        x, y = svg.Scale(0, 1, 0, 1), svg.Scale(0, 1, 1, 0)
        assert svg.line("x", x.all(thin[0]), y.all(thin[2])) == ""
        assert svg.area("x", x.all(thin[0]), y.all(thin[1]), y.all(thin[3])) == ""


@given(odd, odd)
@example(10**400, 10**400)
@example([[10**400, 1]], [{"bounds": [{"use": 10**400, "value": 10**400, "limit": math.inf, "met": True}]}])
def test_malformed_details_do_not_break_the_page(first: object, second: object) -> None:
    """Malformed details of a check raise no error when the page is made."""
    details = {"resident": first, "outputs": second, "slowest_nodes": [second, {"name": first, "share": second}]}
    report = sample.draft(tuple(sample.checks(("arm",), ("fp32",))))
    for row in ("memory.peak", "parity.outputs", "latency.p99"):
        report = sample.with_row(report, row, details=details)
    page = html.render(report)
    assert not re.search(r' (?:x|y|x1|x2|y1|y2|width|height|d|points)="[^"]*(?:nan|inf)', page)


def test_tolerances_have_the_units_of_their_rows() -> None:
    """A relative tolerance is shown in percent, as in its row; one in the output's own unit as a number."""
    made = {
        "output": "y",
        "bounds": [{"metric": each, "value": 0.001, "limit": 0.002} for each in ("slice_error", "rmse")],
    }
    report = sample.with_row(sample.draft(), "parity.outputs", details={"outputs": [made]})
    checks = tuple(row for row in report.checks if row.id == "parity.outputs")
    found, _ = select_plots.bounds(view.Group("arm", "fp32", checks))
    assert [(each.value, each.limit) for each in found] == [("0.1 %", "0.2 %"), ("0.001", "0.002")]


@pytest.mark.parametrize("file", ["../x.npz", "/etc/passwd", "samples/../../x.npz", "javascript:alert(1)", 3, "x.npz"])
def test_no_file_outside_the_samples_is_read_or_linked(file: object, tmp_path: Path) -> None:
    """Only a file directly in the report's folder ``samples`` is read or linked."""
    (tmp_path / "x.npz").write_bytes(b"")
    report = seal(sample.with_row(sample.draft(), "latency.p99", details={"samples": file}))
    text = html.render(report, tmp_path)
    assert "raw data" not in text
    assert "javascript" not in text


def test_the_bound_that_decided_is_drawn() -> None:
    """The histogram shows the percentile's interval with its confidence, and the limit."""
    measured = Measurement(value=0.004, unit="s", low=0.0039, high=0.0044, confidence=0.99, n=1000)
    drawn = plots.histogram([0.001, 0.002, 0.005], [3, 4], measured, AT_MOST)
    assert "bound 4.4 ms at 99 %" in drawn
    assert "limit 5 ms" in drawn
    assert 'class="interval"' in drawn


CURVE = [[step, 1e-4 * (1 + step), 2e-4 * (1 + step)] for step in range(200)]


def test_the_error_over_steps_is_drawn_with_its_limit() -> None:
    """The three outputs that are closest to their limit are drawn, with the limit."""
    horizon = [
        {"output": name, "value": value, "limit": 0.1, "growth": {"kind": "linear"}}
        for name, value in (("a", 0.01), ("b", 0.09), ("c", 0.001), ("d", 0.02))
    ]
    details = {"curve": dict.fromkeys("abcd", CURVE), "horizon": horizon}
    row = sample.check(CATALOGUE["sequence.free_running"], "arm", "fp32", details=details)
    (group,) = view.groups(sample.draft((row,)))
    drawn = select_plots.pictures(sample.draft((row,)), group, None, 40)
    assert [one.caption.rpartition(" ")[2] for one in drawn] == ["b", "d", "a"]
    assert "accumulates" in drawn[0].note
    assert "limit 10 % at the end" in drawn[0].drawn
    assert "error over 200 steps" in plots.errors(CURVE, 1e-3)


@pytest.mark.parametrize("limit", [1e-5, 1e-3, 0.03])
def test_the_limit_of_an_error_is_named_above_the_numbers_of_the_steps(limit: float) -> None:
    """Wherever the line of the limit is, its label stays above the labels of the steps."""
    (label,) = re.findall(r'y="(\d+)"[^>]*>limit', plots.errors(CURVE, limit))
    assert int(label) <= plots.FLOOR


@given(st.lists(st.lists(st.one_of(st.floats(), st.integers(), st.text(), st.none()), max_size=4)), st.floats())
def test_any_curve_is_drawn_or_left_out(curve: list[list[object]], limit: float) -> None:
    """Whatever a report has in place of the curve, it is drawn or left out."""
    assert "nan" not in plots.errors(curve, limit)
