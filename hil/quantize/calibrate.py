"""Calibrate and quantize with onnxruntime.quantization, a few samples at a time and with its messages suppressed."""

from __future__ import annotations

import contextlib
import hashlib
import io
import logging
import warnings
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any

import onnx
from onnxruntime.quantization import CalibrationMethod, QuantType
from onnxruntime.quantization.calibrate import TensorsData, create_calibrator
from onnxruntime.quantization.qdq_quantizer import QDQQuantizer

from hil.datasets.dataset import sample_digest
from hil.dtypes import is_finite
from hil.errors import HilError, UserError, did_you_mean
from hil.onnx_files.external_data import external_files, save
from hil.onnx_files.host_run import HostSession
from hil.onnx_files.ort_errors import ort_error
from hil.quantize.coverage import layers, nothing_to_quantize, quantization_facts
from hil.quantize.float_outputs import restore_float_outputs
from hil.quantize.floating import floating_facts, kept_nodes, without_range
from hil.quantize.histograms import Collector
from hil.quantize.layout import EXTRA, OPERATORS
from hil.quantize.masks import masked_tensors
from hil.quantize.node_order import sort_nodes
from hil.quantize.own_constants import separate_constants
from hil.quantize.prepare import prepared

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    import numpy as np

    from hil.config.spec import CalibrationSpec
    from hil.datasets.dataset import Batch, Dataset
    from hil.runtimes import QdqLayout

FEED = 4 * 2**20
"""Bytes of inputs per feed; calibration keeps all activations of a feed in memory."""

MOST = 32
"""The most samples per feed, unless the model takes a fixed number."""

METHODS = {
    "minmax": CalibrationMethod.MinMax,
    "entropy": CalibrationMethod.Entropy,
    "percentile": CalibrationMethod.Percentile,
}


@dataclass(frozen=True)
class Calibration:
    """What a calibrator's ``compute_data`` returned, and the tensors without a range because a mask would set it."""

    ranges: Any
    masked: frozenset[str]


@dataclass(frozen=True)
class Result:
    """The quantized model's file, and the facts for its record."""

    path: Path
    facts: dict[str, Any]


def calibrated(  # noqa: PLR0913, PLR0917 - the values of quantize()
    model: Path,
    data: Dataset,
    spec: CalibrationSpec,
    parts: dict[str, Any],
    folder: Path,
    counted: Callable[[int], None],
) -> Result:
    """Quantize ``model`` into a file in ``folder``. Raises the same errors as ``hil.quantize.quantize``."""
    layout: QdqLayout = parts["layout"]
    try:
        with silence():
            proto = prepared(model, folder)
            spec = spec.model_copy(update={"exclude_nodes": _excluded(proto, spec.exclude_nodes, model)})
            feed = Feed(data, parts["samples"], model.stem, counted)
            [(_, calibration)] = collect(proto, folder, feed, spec, layout)
            result = insert(proto, calibration, spec, layout)
            result.ir_version = proto.ir_version
            path = folder / "quantized.onnx"
            save(result, path)
    except (HilError, OSError):
        raise
    except Exception as error:  # noqa: BLE001 - the quantizer's exceptions share no other base class
        raise ort_error(error, model, "while quantizing it") from None
    kept = kept_of(proto, calibration, spec)
    facts = {
        **quantization_facts(proto, result, kept, model.stem),
        "floating": floating_facts(proto, result, kept, layout),
    }
    return Result(path, {**feed.facts(), **facts, "synthetic": data.synthetic})


@contextlib.contextmanager
def silence() -> Iterator[None]:
    """Suppress the quantizer's output, log messages and warnings; restore all of them afterwards."""
    root, sink = logging.getLogger(), logging.NullHandler()
    root.addHandler(sink)  # otherwise its logging.warning() would configure the root logger
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
        root.removeHandler(sink)


def _excluded(proto: onnx.ModelProto, excluded: tuple[str, ...], model: Path) -> tuple[str, ...]:
    """Return the names that the excluded nodes have in ``proto``, the prepared ``model``.

    For a node of ``model`` that was folded, it is the name of the node that now makes its result. Raise ``UserError``
    for a name that neither model has.
    """
    names = [node.name for node in proto.graph.node]
    if missing := set(excluded) - set(names):
        makers = {output: node.name for node in proto.graph.node for output in node.output}
        own = [node for node in onnx.load(str(model), load_external_data=False).graph.node if node.name in missing]
        folded = {node.name: makers[output] for node in own for output in node.output if output in makers}
        excluded = tuple(dict.fromkeys(folded.get(name, name) for name in excluded))
    for name in excluded:
        if name not in names:
            raise UserError(f"exclude_nodes: model {model.stem} has no node {name!r}{did_you_mean(name, names)}")
    return excluded


def stride_of(data: Dataset, most_bytes: int = FEED) -> int:
    """Return the number of samples per batch: ``data.stride`` if set, otherwise the result of ``fitting``."""
    return fitting(data, most_bytes) if data.stride is None else data.stride


def fitting(data: Dataset, most_bytes: int = FEED) -> int:
    """Return how many samples like the first fit into ``most_bytes``, from 1 to 32."""
    batch = next(data.batches(data.stride or 1, data.stride or 1), None)
    if batch is None:
        return 1
    first = batch.inputs
    rows = len(next(iter(first.values())))
    return int(min(MOST, max(1, most_bytes * rows // max(1, sum(array.nbytes for array in first.values())))))


class Feed:
    """Gives the samples of a data set to the calibrator, and counts and digests those that it consumed.

    A feed is a group of batches.
    """

    def __init__(
        self, data: Dataset, samples: int, model: str, counted: Callable[[int], None] = lambda _: None
    ) -> None:
        """Give the first ``samples`` samples of ``data``, which are read later. Messages name ``model``.

        ``counted`` is called with the number of samples of each batch that the calibrator consumed.
        """
        self._counted = counted
        self.model = model
        self.samples = samples
        self.consumed = 0
        most = fitting(data)
        self.stride = data.stride or most
        self._together = max(1, most // self.stride)
        self._batches = data.batches(self.stride, samples)
        self._digest = hashlib.sha256()
        self._loaded: list[Batch] = []

    def advance(self) -> bool:
        """Load the next feed; return False at the end of the data. Raises ``UserError`` for NaN or infinity."""
        self._loaded = list(islice(self._batches, self._together))
        for batch in self._loaded:
            for name, array in batch.feeds.items():
                if not is_finite(array).all():
                    raise UserError(
                        f"calibration data holds NaN or infinity near sample {batch.start}: "
                        f"model {self.model}, input {name!r}: fix or remove those samples"
                    )
        return bool(self._loaded)

    @property
    def loaded(self) -> list[dict[str, np.ndarray]]:
        """The batches of the loaded feed that were not consumed yet, each as the model's inputs by name."""
        return [batch.feeds for batch in self._loaded]

    def get_next(self) -> dict[str, np.ndarray] | None:
        """Return the next batch of the loaded feed, or ``None`` at its end; onnxruntime's calibrator calls this."""
        if not self._loaded:
            return None
        batch = self._loaded.pop(0)
        rows = len(next(iter(batch.inputs.values())))
        for row in range(rows):
            self._digest.update(sample_digest(batch.inputs, row).hex().encode())
        self.consumed += rows
        self._counted(rows)
        return batch.feeds

    def facts(self) -> dict[str, Any]:
        """Return the number and the digest of the consumed samples, and the stride, for the record."""
        return {"samples": self.consumed, "samples_digest": self._digest.hexdigest(), "stride": self.stride}


def collect(  # noqa: PLR0913 - the steps of one calibration share these
    proto: onnx.ModelProto,
    folder: Path,
    feed: Feed,
    spec: CalibrationSpec,
    layout: QdqLayout,
    *,
    marks: Sequence[int] = (),
) -> Iterator[tuple[int, Calibration]]:
    """Calibrate on ``feed``; yield the number of samples consumed so far, and the ranges computed from these samples.

    Both are yielded when a number in ``marks`` is reached, and at the end. Raise ``UserError`` for a feed without
    samples, ``EngineBuildError`` if the model has no layer that could become INT8.
    """
    if not feed.advance():
        raise UserError(f"calibration data has no samples: model {feed.model}: add some to calibration.data")
    floating, pending = folder / "floating.onnx", sorted(marks)
    masked = masked_tensors(proto, feed.loaded)
    save(proto, floating)
    options = {"symmetric": True, "percentile": spec.percentile}
    calibrator = create_calibrator(
        floating,
        [*OPERATORS[layout], "Concat"],  # also if the layout lacks Concat: its inputs' ranges are compared
        str(folder / "augmented.onnx"),
        METHODS[spec.method],
        use_external_data_format=bool(external_files(floating)),
        extra_options=options,
    )
    calibrator.infer_session = HostSession(calibrator.infer_session)  # its own run() takes numpy's types only
    # After ONNX Runtime has loaded the model, so that an error in it is reported first.
    if not layers(proto) or not calibrator.select_tensors_to_calibrate(calibrator.model)[0]:
        raise nothing_to_quantize(proto, feed.model)
    if spec.method != "minmax":  # a histogram over a mask needs billions of bins, or is impossible with -inf
        calibrator.tensors_to_calibrate -= masked
        calibrator.collector = Collector(spec.method, spec.percentile)
    more = True
    while more:
        calibrator.collect_data(feed)
        more = feed.advance()
        if not more or (pending and feed.consumed >= pending[0]):
            pending = [mark for mark in pending if mark > feed.consumed]
            yield feed.consumed, Calibration(calibrator.compute_data(), masked)


def kept_of(proto: onnx.ModelProto, calibration: Calibration, spec: CalibrationSpec) -> dict[str, tuple[str, str]]:
    """Return ``kept_nodes`` with the ranges of ``calibration`` and the excluded nodes of ``spec``."""
    return kept_nodes(proto, calibration.ranges, calibration.masked, spec.exclude_nodes)


def insert(
    proto: onnx.ModelProto, calibration: Calibration, spec: CalibrationSpec, layout: QdqLayout
) -> onnx.ModelProto:
    """Return a copy of ``proto`` with Q/DQ nodes, except at those that ``kept_of`` returns."""
    copy = onnx.ModelProto()
    copy.CopyFrom(proto)
    given = {value.name for value in proto.graph.input}
    del copy.graph.output[:]  # of an output that is an input too, the quantizer would define the name twice
    copy.graph.output.extend(value for value in proto.graph.output if value.name not in given)
    left = calibration.masked | without_range(calibration.ranges)
    ranges = {name: one for name, one in calibration.ranges.items() if name not in left}
    kept = kept_of(proto, calibration, spec)
    if layout == "onnxruntime":
        separate_constants(copy.graph, OPERATORS[layout])
    quantizer = QDQQuantizer(
        copy,
        True,  # noqa: FBT003 - per_channel; the parameters' names differ between versions
        False,  # noqa: FBT003 - reduce_range
        QuantType.QInt8,
        QuantType.QInt8,
        TensorsData(METHODS[spec.method], ranges),
        [],
        list(kept),
        list(OPERATORS[layout]),
        dict(EXTRA[layout]),
    )
    quantizer.quantize_model()
    restore_float_outputs(quantizer.model.model.graph, kept, layout)
    sort_nodes(quantizer.model.model.graph)
    result: onnx.ModelProto = quantizer.model.model
    del result.graph.output[:]
    result.graph.output.extend(proto.graph.output)
    return result
