"""``hil trtexec FILE``: show what ``trtexec`` exported: its times with confidence bounds, its layers."""

from __future__ import annotations

from collections import Counter
from pathlib import Path  # noqa: TC003 - typer reads the annotations
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hil.importers.trtexec_files import LayerInfo, Profile, Times

CONFIDENCE = 0.95
SLOWEST = 10
QUANTILES = {"p50": 0.5, "p90": 0.9, "p99": 0.99}
NO_VERDICT = "these figures are not a verdict: trtexec measures differently from pytest-hil (docs/coming-from.md)"


def command(
    file: Annotated[
        Path,
        typer.Argument(
            metavar="FILE", help="A file that trtexec wrote: --exportTimes, --exportProfile or --exportLayerInfo."
        ),
    ],
) -> None:
    """Show a file that trtexec exported: percentiles of its times, its slowest layers, or its precisions.

    Percentiles have bounds of 95 % each, computed like those of a report's latencies. Nothing is judged, and no report
    is changed.

    [bold]Examples[/bold]

      hil trtexec times.json

      hil trtexec layers.json
    """
    from hil.importers.trtexec_files import Profile, Times, read

    content = read(file)
    if isinstance(content, Times):
        lines = _times(content)
    elif isinstance(content, Profile):
        lines = _profile(content)
    else:
        lines = _layers(content)
    for line in lines:
        typer.echo(line)
    typer.echo(NO_VERDICT)


def _times(times: Times) -> Iterator[str]:
    import numpy as np

    from hil.stats.correlation import effective_size
    from hil.stats.percentile import percentile_bounds
    from hil.units import show

    for words, samples in times.seconds.items():
        yield f"{words} of {len(samples)} inferences"
        for name, quantile in QUANTILES.items():
            low, high = percentile_bounds(samples, quantile, CONFIDENCE, effective_size(samples, quantile))
            low_text, high_text = (show(bound, "s") if np.isfinite(bound) else "unknown" for bound in (low, high))
            yield f"  {name} {show(float(np.quantile(samples, quantile)), 's')} ({low_text} to {high_text})"


def _profile(profile: Profile) -> Iterator[str]:
    from hil.text import clean
    from hil.units import show

    total = sum(seconds for _, seconds in profile.layers)
    yield f"{len(profile.layers)} layers, {show(total, 's')} in all, mean of {profile.count} inferences"
    for name, seconds in sorted(profile.layers, key=lambda layer: -layer[1])[:SLOWEST]:
        yield f"  {show(seconds, 's')}  {show(seconds / total if total else 0.0, '1')}  {clean(name)}"


def _layers(info: LayerInfo) -> Iterator[str]:
    layers = info.layers
    yield f"{len(layers)} layers, by the type that they compute in"
    for precision, count in Counter(
        layer["precision"] or "unknown, or only moves data" for layer in layers
    ).most_common():
        yield f"  {count}  {precision}"
