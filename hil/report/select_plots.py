"""Select the figures and detail tables of one model in one precision, and the files of their raw data."""

from __future__ import annotations

import itertools
import math
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from markupsafe import Markup

from hil.checks.latency import unusable
from hil.checks.tolerances import ANSWERS, UNITS
from hil.report import over_time, plots, svg
from hil.report.shown_text import one_line, printable
from hil.session.sampling.series_files import read
from hil.units import number_text, show

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from hil.report.schema import Report
    from hil.report.view import Group
    from hil.results import CheckResult
    from hil.series import Series

MOST_COUNTED = 10**15
MOST_OUTPUTS, MOST_BOUNDS, MOST_NODES = 12, (4, 1), (10, 3)
"""The most outputs; the most tolerances per output and the most layers, each for a small and for a large report."""
MOST_CURVES = 3
"""The most outputs whose errors over steps are drawn."""
GROWTH = {
    "bounded": " It stays bounded.",
    "linear": " It accumulates from step to step.",
    "exponential": " It grows exponentially.",
}
SAFE = re.compile(r"samples/[\w.+-]+\.npz", re.ASCII)
"""The names of files that may be linked and read: those directly in the report's folder ``samples``."""
LONGEST = 80


@dataclass(frozen=True)
class Picture:
    """One figure with ``caption`` above and ``note`` below.

    ``file`` is the path of the raw data below the report's folder; empty if the report itself has the numbers.
    """

    caption: str
    drawn: Markup
    note: str = ""
    file: str = ""


@dataclass(frozen=True)
class Bound:
    """One tolerance of one output. ``use`` is the share of the tolerance that is used up; ``bar`` shows this share."""

    output: str
    metric: str
    value: str
    limit: str
    use: str
    bar: Markup


@dataclass(frozen=True)
class Node:
    """One of the slowest layers; ``share`` is its share of the inference time."""

    name: str
    op: str
    seconds: str
    share: str
    bar: Markup


def pictures(report: Report, group: Group, folder: Path | None, bins: int) -> list[Picture]:
    """Return the figures of ``group``, the lines of raw series thinned to at most ``bins`` points.

    ``folder`` is the report's folder; without it (``None``), figures of raw series are left out.
    """
    checks = {check.id: check for check in group.checks}
    figures = [*_distribution(group, bins), *_timed(report, checks, folder, bins), *_memory(checks)]
    figures += _sequences(checks)
    return [picture for picture in figures if picture.drawn]


def _distribution(group: Group, bins: int) -> Iterator[Picture]:
    best: tuple[CheckResult, tuple[list[float], list[float]]] | None = None
    for check in group.checks:
        numbers = edges_and_counts(check.details.get("histogram"))
        if numbers is not None and (best is None or check.id == "latency.p99"):
            best = check, numbers
    if best is not None:
        check, numbers = best
        judged = check.measurement if check.measurement is not None and check.measurement.unit == "s" else None
        limit = check.limit if check.limit is not None and check.limit.unit == "s" else None
        drawn = plots.histogram(*coarser(*numbers, bins), judged, limit)
        # The last bin holds all slower inferences as well (hil.session.gather.timing.histogram).
        slowest = check.details.get("largest")
        note = f"The slowest took {show(slowest, 's')}." if isinstance(slowest, float) and slowest > 0 else ""
        yield Picture("Distribution of inference times", Markup(drawn), note)  # noqa: S704 - svg escapes its texts


def _timed(report: Report, checks: Mapping[str, CheckResult], folder: Path | None, bins: int) -> Iterator[Picture]:
    for name, ids in (("saturated", ("latency.p99", "latency.p90", "latency.p50")), ("sustained", ("sustained.p99",))):
        check = next((checks[each] for each in ids if each in checks), None)
        series, file = _series(report, check, folder)
        if series is not None and check is not None:
            caption = "Latency over time" if name == "saturated" else "Latency under sustained load"
            drawn = over_time.latency(series, check.limit, bins)
            yield Picture(caption, Markup(drawn), over_time.missing_sensors_note(series), file)  # noqa: S704 - as above
    check = checks.get("fps.slowest_second") or checks.get("fps.sustained")
    series, file = _series(report, check, folder)
    if series is not None and check is not None:
        drawn = over_time.rate(series, check.limit, bins)
        yield Picture("Frames in each second", Markup(drawn), "", file)  # noqa: S704 - as above


def _memory(checks: Mapping[str, CheckResult]) -> Iterator[Picture]:
    check = checks.get("memory.peak")
    resident = None if check is None else check.details.get("resident")
    if check is not None and isinstance(resident, dict):
        drawn = plots.memory(resident, check.details, check.limit)
        yield Picture("Memory over a soak", Markup(drawn))  # noqa: S704 - as above


def _sequences(checks: Mapping[str, CheckResult]) -> Iterator[Picture]:
    """Yield a figure of the error over the steps, for at most ``MOST_CURVES`` outputs: those closest to their limit."""
    check = checks.get("sequence.free_running")
    curves = None if check is None else check.details.get("curve")
    if check is None or not isinstance(curves, dict):
        return
    ends = {str(row.get("output")): row for row in _tables(check.details.get("horizon"))}
    known = {name: curve for name, curve in curves.items() if isinstance(curve, list)}
    known = {name: curve for name, curve in known.items() if all(isinstance(row, list) for row in curve)}
    for name in sorted(known, key=lambda one: -_use(ends.get(one, {})))[:MOST_CURVES]:
        row = ends.get(name, {})
        growth = row.get("growth")
        kind = growth.get("kind") if isinstance(growth, dict) else None
        drawn = plots.errors(known[name], svg.number(row.get("limit")))
        note = "Error relative to how much the reference varies: its mean and its largest value over all sequences."
        note += GROWTH.get(str(kind), "")
        yield Picture(f"Error over the steps of a sequence: {_name(name)}", Markup(drawn), note)  # noqa: S704 - as above


def _use(row: Mapping[str, Any]) -> float:
    value, limit = svg.number(row.get("value")), svg.number(row.get("limit"))
    return value / limit if limit > 0 and math.isfinite(value) else 0.0


def _series(report: Report, check: CheckResult | None, folder: Path | None) -> tuple[Series | None, str]:
    """Return the raw series of a row and its file's name; ``None`` and "" if the series is missing or unusable."""
    file = None if check is None else check.details.get("samples")
    if folder is None or not isinstance(file, str) or SAFE.fullmatch(file) is None:
        return None, ""
    series = read(folder / file, report.run.id)
    if series is None or unusable(series):
        return None, ""
    ends = (*np.abs(series.start[[0, -1]]), series.duration.max())
    return (None, "") if max(ends) > svg.LARGEST else (series, file)


def coarser(edges: list[float], counts: list[float], bins: int) -> tuple[list[float], list[float]]:
    """Return the histogram with neighbouring bars merged, so that it has fewer than twice ``bins`` bars."""
    step = max(1, len(counts) // bins)
    sums = [sum(counts[at : at + step]) for at in range(0, len(counts), step)]
    return [*edges[:-1:step], edges[-1]], sums


def edges_and_counts(value: object) -> tuple[list[float], list[float]] | None:
    """Return edges and counts of a histogram ``{"edges": [n + 1 rising numbers], "counts": [n numbers from 0 on]}``.

    Return ``None`` for any other value, and if every count is 0.
    """
    if not isinstance(value, dict):
        return None
    edges, counts = value.get("edges"), value.get("counts")
    if not isinstance(edges, list) or not isinstance(counts, list) or not counts or len(edges) != len(counts) + 1:
        return None
    edges, counts = [svg.number(item) for item in edges], [svg.number(item) for item in counts]
    rising = all(left < right for left, right in itertools.pairwise(edges))
    return (edges, counts) if rising and any(counts) and all(0 <= each <= MOST_COUNTED for each in counts) else None


def bounds(group: Group, *, large: bool = False) -> tuple[list[Bound], int]:
    """Return the first tolerances of the first outputs, in the order of the report, and the number of all outputs.

    A ``large`` report shows fewer tolerances of each output.
    """
    check = next((each for each in group.checks if each.id in ("parity.outputs", "sequence.free_running")), None)
    rows = _tables(None if check is None else check.details.get("outputs"))
    return [bound for row in rows[:MOST_OUTPUTS] for bound in _bounds(row, MOST_BOUNDS[large])], len(rows)


def _bounds(row: Mapping[str, Any], most: int) -> Iterator[Bound]:
    for bound in _tables(row.get("bounds"))[:most]:
        use, value, limit = (bound.get(key) for key in ("use", "value", "limit"))
        part = svg.number(use)
        known = math.isfinite(part)
        part = part if known else 1.5
        bar = Markup(plots.used(part, met=bound.get("met") is True))  # noqa: S704 - numbers alone
        use_text = f"{100 * part:.3g} %" if known else "–"
        metric = _name(bound.get("metric"))
        unit = {**UNITS, **ANSWERS}.get(metric, "")
        yield Bound(_name(row.get("output")), metric, _number(value, unit), _number(limit, unit), use_text, bar)


def slowest(group: Group, *, large: bool = False) -> list[Node]:
    """Return the slowest layers, from the first row of ``group`` that lists any; empty if no row does.

    A ``large`` report shows fewer layers.
    """
    for check in group.checks:
        nodes = _tables(check.details.get("slowest_nodes"))[: MOST_NODES[large]]
        if nodes:
            return [_node(node) for node in nodes]
    return []


def _node(node: Mapping[str, Any]) -> Node:
    seconds, share = (svg.number(node.get(key)) for key in ("seconds", "share"))
    duration = show(seconds, "s") if math.isfinite(seconds) else "–"
    part = share if math.isfinite(share) else 0.0
    bar = Markup(plots.share(part))  # noqa: S704 - numbers alone
    return Node(_name(node.get("name")), _name(node.get("op") or "–"), duration, f"{100 * part:.3g} %", bar)


def _tables(value: object) -> list[Mapping[str, Any]]:
    return [each for each in value if isinstance(each, dict)] if isinstance(value, list) else []


def _name(value: object) -> str:
    return one_line(str(value), LONGEST)


def _number(value: object, unit: str = "") -> str:
    known = svg.number(value)
    if unit and math.isfinite(known):
        return show(known, unit)
    return number_text(known, 4) if math.isfinite(known) else printable(str(value))[:LONGEST]
