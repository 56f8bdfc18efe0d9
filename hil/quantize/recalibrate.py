"""Calibrate a model again, to verify the ranges in use and to find out whether more data would change them."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from hil.errors import HilError
from hil.onnx_files.ort_errors import ort_error
from hil.quantize.calibrate import Feed, collect, insert, silence
from hil.quantize.prepare import prepared
from hil.quantize.ranges import Ranges, ranges_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    import onnx

    from hil.config.spec import CalibrationSpec
    from hil.datasets.dataset import Dataset
    from hil.runtimes import QdqLayout

MARKS = (0.25, 0.5)
"""Shares of the samples after which the ranges are recorded, in addition to the end."""


@dataclass(frozen=True)
class Snapshot:
    """The ranges after calibration on the first ``samples`` samples, as the model would contain them."""

    samples: int
    ranges: Ranges


def snapshots(model: Path, data: Dataset, spec: CalibrationSpec, layout: QdqLayout) -> list[Snapshot]:
    """Calibrate ``model`` without storing anything; return its ranges after 25 %, 50 % and 100 % of the samples.

    There may be fewer snapshots, or other shares, since a snapshot is made only at the end of a feed (``Feed``). Raises
    the same errors as ``quantize``.
    """
    samples = spec.samples or data.count
    try:
        with silence(), tempfile.TemporaryDirectory(prefix="hil-calibration-") as folder:
            proto = prepared(model, Path(folder))
            feed = Feed(data, samples, model.stem)
            marks = [int(samples * share) for share in MARKS]
            result = _distinct(_snapshots(proto, Path(folder), feed, spec, layout, marks))
            half = samples // 2
            if len(result) == 1 and half and (data.stride is None or half % data.stride == 0):
                half_feed = Feed(data, half, model.stem)
                result = [*_snapshots(proto, Path(folder), half_feed, spec, layout, []), *result]
    except (HilError, OSError):
        raise
    except Exception as error:  # noqa: BLE001 - the quantizer's exceptions share no other base class
        raise ort_error(error, model, "while calibrating it again") from None
    return result


def _distinct(snapshots_: Iterator[Snapshot]) -> list[Snapshot]:
    """Return one snapshot for each number of samples."""
    return list({snapshot.samples: snapshot for snapshot in snapshots_}.values())


def _snapshots(  # noqa: PLR0913, PLR0917 - private: one calibration
    proto: onnx.ModelProto, folder: Path, feed: Feed, spec: CalibrationSpec, layout: QdqLayout, marks: list[int]
) -> Iterator[Snapshot]:
    total = feed.samples
    inner = [mark for mark in marks if 0 < mark < total]
    for samples, ranges in collect(proto, folder, feed, spec, layout, marks=inner):
        yield Snapshot(samples, ranges_of(insert(proto, ranges, spec, layout)))
