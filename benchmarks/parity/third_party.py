"""Networks that other projects ship, with realistic samples, for planting faults: those of ``benchmarks.accuracy``."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

from benchmarks.accuracy import graphs
from benchmarks.accuracy.subjects import SUBJECTS
from benchmarks.parity.graphs import Case
from hil.onnx_files.dimension_names import separate
from tests.zoo.packages import installed

if TYPE_CHECKING:
    from benchmarks.parity.graphs import Feeds

NAMES = tuple(name for name, subject in SUBJECTS.items() if not subject.file.startswith("examples/"))

UNSOUND = {("files", "fp16"), ("files", "int8"), ("speech", "int8"), ("turned", "int8")}
"""Networks and precisions without a healthy engine, so that none is drawn: rounding alone changes answers.

Sums of squares of ``files`` overflow in FP16, powers of the spectrum of ``speech`` are lost in INT8, and ``turned``
gives one of three lines the other class in INT8.
"""


@cache
def third_party(name: str) -> Case:
    """Return the network ``name`` with its own weights; its constants are initializers, and each node has a name."""
    subject = SUBJECTS[name]
    model = graphs.simplified(subject.reference(installed()))
    graphs.names_nodes(model)
    separate(model, ())  # as in the copy that an engine is built from

    def samples(count: int, seed: int) -> list[Feeds]:
        arrays = subject.make(model, count, seed)
        return [{key: values[row : row + 1] for key, values in arrays.items()} for row in range(count)]

    remaining = {node.name for node in graphs.optimized(model, "BASIC").graph.node}  # the quantizer folds the others
    floating = tuple(node for node in graphs.ends(model, *subject.spared) if node in remaining)
    return Case(name, model, samples, floating)
