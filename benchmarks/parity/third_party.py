"""Networks that other projects ship, for planting faults, and whether an undamaged engine of one is sound.

Networks, samples and decoders are those of ``benchmarks.accuracy``.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.accuracy import graphs
from benchmarks.accuracy.subjects import SUBJECTS
from benchmarks.accuracy.variants import MOST_SOUND
from benchmarks.parity.graphs import Case
from hil.onnx_files.dimension_names import separate
from tests.zoo.packages import installed

if TYPE_CHECKING:
    from collections.abc import Sequence

    import onnx
    from numpy.typing import NDArray

    from benchmarks.accuracy.truth import Truth
    from benchmarks.parity.graphs import Feeds

NAMES = tuple(name for name, subject in SUBJECTS.items() if not subject.file.startswith("examples/"))

FRESH = 256
"""Samples on which the answers of an undamaged engine are compared with its reference's."""

_SEED = 1 << 24  # far from the seeds of the samples that calibrate and that are judged


@cache
def third_party(name: str) -> Case:
    """Return the network ``name`` with its own weights; its constants are initializers, and each node has a name."""
    subject = SUBJECTS[name]
    model = graphs.simplified(subject.reference(installed() if name in NAMES else Path()))
    graphs.names_nodes(model)
    separate(model, ())  # as in the copy that an engine is built from

    def samples(count: int, seed: int) -> list[Feeds]:
        arrays = subject.make(model, count, seed)
        return [{key: values[row : row + 1] for key, values in arrays.items()} for row in range(count)]

    remaining = {node.name for node in graphs.optimized(model, "BASIC").graph.node}  # the quantizer folds the others
    floating = tuple(node for node in graphs.ends(model, *subject.spared) if node in remaining)
    return Case(name, model, samples, floating)


def unsound(name: str, engine: onnx.ModelProto) -> str:
    """Return, as text, the share of answers that the undamaged ``engine`` changes; empty if it is sound.

    It is sound if it changes at most ``MOST_SOUND`` of the answers to ``FRESH`` samples.
    """
    data, reader, ours = _reference(name)
    theirs = reader.answers(graphs.run(engine, data))
    share = float(np.mean([reader.changed(one, other) for one, other in zip(ours, theirs, strict=True)]))
    return "" if share <= MOST_SOUND else f"{share:.1%} of the answers changed"


@cache
def _reference(name: str) -> tuple[dict[str, NDArray[Any]], Truth, Sequence[Any]]:
    """Return fresh samples of the network, the reader of answers, and the reference's answers."""
    model, subject = third_party(name).model, SUBJECTS[name]
    data, reader = subject.make(model, FRESH, _SEED), subject.truth()
    return data, reader, reader.answers(graphs.run(model, data))
