"""A model with everything that a change of it may need, and its INT8 copies."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import onnx

from benchmarks.accuracy import graphs
from benchmarks.parity.engines import Samples
from hil.config.spec import CalibrationSpec
from hil.quantize import quantize

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from benchmarks.accuracy.subjects import Subject
    from hil.runtimes import QdqLayout

CALIBRATION = 48
"""Number of calibration samples."""


@dataclass
class Case:
    """A reference model of ``subject``; ``seed`` decides the samples and the details of changes."""

    name: str
    subject: Subject
    model: onnx.ModelProto
    seed: int

    @cached_property
    def simple(self) -> onnx.ModelProto:
        """The model without constants and identities as nodes."""
        made = graphs.simplified(self.model)
        graphs.names_nodes(made)
        return made

    @cached_property
    def calibration(self) -> dict[str, NDArray[Any]]:
        """The calibration samples by input; they are used only to calibrate."""
        return self.subject.make(self.model, CALIBRATION, self.seed + 2_000)

    def random(self, kind: str) -> np.random.Generator:
        """Return the generator that decides the details of a change."""
        return np.random.default_rng([self.seed, *kind.encode(), *self.name.encode()])

    @cached_property
    def commonest(self) -> int:
        """The class that occurs most often in the answers to the calibration samples; 0 where there are none."""
        answers = self.subject.truth().answers(graphs.run(self.model, self.calibration))
        if self.subject.task in {"regression", "segmentation"}:
            return 0
        flat = [
            np.atleast_1d(one[1] if isinstance(one, tuple) and self.subject.task == "detection" else one)
            for one in answers
        ]
        return int(np.bincount(np.concatenate(flat).astype(int)).argmax())

    def in_int8(
        self,
        method: Literal["minmax", "percentile"] = "minmax",
        *,
        layout: QdqLayout = "tensorrt",
        arrays: Mapping[str, NDArray[Any]] | None = None,
        spared: tuple[float, float] = (0.0, 0.0),
        model: onnx.ModelProto | None = None,
    ) -> onnx.ModelProto:
        """Return the model with Q/DQ nodes as ``hil`` inserts them for a runtime, calibrated on ``arrays``.

        ``spared`` are the shares of the first and of the last layers that stay in floating point.
        """
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "model.onnx")
            onnx.save(model or self.folded, str(path))
            arrays = arrays or self.calibration
            count = len(next(iter(arrays.values())))
            samples = Samples([{name: array[row : row + 1] for name, array in arrays.items()} for row in range(count)])
            spec = CalibrationSpec(data="samples", method=method, exclude_nodes=graphs.ends(self.folded, *spared))
            return onnx.load(str(quantize(path, Path(folder), samples, spec, layout=layout).path))

    @cached_property
    def folded(self) -> onnx.ModelProto:
        """The simplified model after ONNX Runtime's basic optimizations, with named nodes.

        Q/DQ nodes are added to it.
        """
        made = graphs.optimized(self.simple, "BASIC")
        graphs.names_nodes(made)
        return made

    @cached_property
    def good_int8(self) -> onnx.ModelProto:
        """The INT8 copy that most damage is done to."""
        return self.in_int8(spared=self.subject.spared)
