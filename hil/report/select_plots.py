"""Which pictures belong to a model in one precision, and where their raw data lies."""

from __future__ import annotations

import itertools
import math
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from markupsafe import Markup

from hil.checks.latency import unusable
from hil.report import over_time, plots, svg
from hil.report.shown_text import one_line, printable
from hil.session.sampling.series_files import read
from hil.units import show

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from hil.report.schema import Report
    from hil.report.view import Group
    from hil.results import CheckResult
    from hil.series import Series

MOST_COUNTED = 10**15
MOST_OUTPUTS, MOST_BOUNDS, MOST_NODES = 12, (4, 1), (10, 3)
"""Of a small report, and of a large one: there the most used tolerance of each output, and the slowest layers."""
SAFE = re.compile(r"samples/[\w.+-]+\.npz", re.ASCII)
"""A file that may be linked and read: directly in the report's own folder of samples."""
LONGEST = 80


@dataclass(frozen=True)
class Picture:
    """One figure: ``caption`` above it, ``note`` below, ``file`` with its raw data relative to the report."""

    caption: str
    drawn: Markup
    note: str = ""
    file: str = ""


@dataclass(frozen=True)
class Bound:
    """One tolerance of one output: ``use`` of it, as a number and as a bar."""

    output: str
    metric: str
    value: str
    limit: str
    use: str
    bar: Markup


@dataclass(frozen=True)
class Node:
    """One of the slowest layers, with its share of an inference."""

    name: str
    op: str
    seconds: str
    share: str
    bar: Markup


def pictures(report: Report, group: Group, folder: Path | None, bins: int) -> list[Picture]:
    """What can be drawn of ``group``; ``folder`` is the report's, with the raw series, if it is at hand."""
    checks = {check.id: check for check in group.checks}
    found = [*_spread(group, bins), *_timed(report, checks, folder, bins), *_memory(checks)]
    return [picture for picture in found if picture.drawn]


def _spread(group: Group, bins: int) -> Iterator[Picture]:
    best: tuple[CheckResult, tuple[list[float], list[float]]] | None = None
    for check in group.checks:
        numbers = counts(check.details.get("histogram"))
        if numbers is not None and (best is None or check.id == "latency.p99"):
            best = check, numbers
    if best is not None:
        check, numbers = best
        seen = check.measurement if check.measurement is not None and check.measurement.unit == "s" else None
        limit = check.limit if check.limit is not None and check.limit.unit == "s" else None
        drawn = plots.histogram(*coarser(*numbers, bins), seen, limit)
        # The last bin of a long tail holds all that is slower (hil.session.gather.timing.histogram).
        slowest = check.details.get("largest")
        note = f"The slowest took {show(slowest, 's')}." if isinstance(slowest, float) and slowest > 0 else ""
        yield Picture("How long each inference took", Markup(drawn), note)  # noqa: S704 - escapes what it draws


def _timed(report: Report, checks: Mapping[str, CheckResult], folder: Path | None, bins: int) -> Iterator[Picture]:
    for name, ids in (("saturated", ("latency.p99", "latency.p90", "latency.p50")), ("sustained", ("sustained.p99",))):
        check = next((checks[each] for each in ids if each in checks), None)
        series, file = _series(report, check, folder)
        if series is not None and check is not None:
            caption = "Latency over time" if name == "saturated" else "Latency over minutes of work"
            drawn = over_time.latency(series, check.limit, bins)
            yield Picture(caption, Markup(drawn), over_time.unread(series), file)  # noqa: S704 - as above
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


def _series(report: Report, check: CheckResult | None, folder: Path | None) -> tuple[Series | None, str]:
    """The raw series of a row, if it is this run's and sound, and its file."""
    file = None if check is None else check.details.get("samples")
    if folder is None or not isinstance(file, str) or SAFE.fullmatch(file) is None:
        return None, ""
    series = read(folder / file, report.run.id)
    if series is None or unusable(series):
        return None, ""
    ends = (*np.abs(series.start[[0, -1]]), series.duration.max())
    return (None, "") if max(ends) > svg.LARGEST else (series, file)


def coarser(edges: list[float], found: list[float], bins: int) -> tuple[list[float], list[float]]:
    """The same histogram in ``bins`` bars or a few more, neighbours together."""
    step = max(1, len(found) // bins)
    sums = [sum(found[at : at + step]) for at in range(0, len(found), step)]
    return [*edges[:-1:step], edges[-1]], sums


def counts(value: object) -> tuple[list[float], list[float]] | None:
    """``{"edges": [n + 1 rising numbers], "counts": [n numbers]}``; anything else is no histogram."""
    if not isinstance(value, dict):
        return None
    edges, found = value.get("edges"), value.get("counts")
    if not isinstance(edges, list) or not isinstance(found, list) or not found or len(edges) != len(found) + 1:
        return None
    edges, found = [svg.number(item) for item in edges], [svg.number(item) for item in found]
    rising = all(left < right for left, right in itertools.pairwise(edges))
    return (edges, found) if rising and all(0 <= each <= MOST_COUNTED for each in found) else None


def bounds(group: Group, *, large: bool = False) -> tuple[list[Bound], int]:
    """The tolerances of each output, most used first, and how many outputs there are."""
    check = next((one for one in group.checks if one.id == "parity.outputs"), None)
    rows = _tables(None if check is None else check.details.get("outputs"))
    return [bound for row in rows[:MOST_OUTPUTS] for bound in _bounds(row, MOST_BOUNDS[large])], len(rows)


def _bounds(row: Mapping[str, Any], most: int) -> Iterator[Bound]:
    for bound in _tables(row.get("bounds"))[:most]:
        use, value, limit = (bound.get(key) for key in ("use", "value", "limit"))
        part = svg.number(use)
        known = math.isfinite(part)
        part = part if known else 1.5
        bar = Markup(plots.used(part, met=bound.get("met") is True))  # noqa: S704 - numbers alone
        told = f"{100 * part:.3g} %" if known else "–"
        yield Bound(_name(row.get("output")), _name(bound.get("metric")), _number(value), _number(limit), told, bar)


def slowest(group: Group, *, large: bool = False) -> list[Node]:
    """The slowest layers, as the first row that was profiled tells them."""
    for check in group.checks:
        nodes = _tables(check.details.get("slowest_nodes"))[: MOST_NODES[large]]
        if nodes:
            return [_node(node) for node in nodes]
    return []


def _node(node: Mapping[str, Any]) -> Node:
    seconds, share = (svg.number(node.get(key)) for key in ("seconds", "share"))
    took = show(seconds, "s") if math.isfinite(seconds) else "–"
    part = share if math.isfinite(share) else 0.0
    bar = Markup(plots.share(part))  # noqa: S704 - numbers alone
    return Node(_name(node.get("name")), _name(node.get("op") or "–"), took, f"{100 * part:.3g} %", bar)


def _tables(value: object) -> list[Mapping[str, Any]]:
    return [each for each in value if isinstance(each, dict)] if isinstance(value, list) else []


def _name(value: object) -> str:
    return one_line(str(value), LONGEST)


def _number(value: object) -> str:
    known = svg.number(value)
    return f"{known:.4g}" if math.isfinite(known) else printable(str(value))[:LONGEST]
