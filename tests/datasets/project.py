"""A small model and a config for it, in a folder of the test's own."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import onnx
from onnx import TensorProto, helper

from hil.config.load import load
from hil.datasets import Dataset, open_dataset
from hil.onnx_files.declared import declare
from hil.onnx_files.signature import Signature, TensorSpec, read_signature

if TYPE_CHECKING:
    from pathlib import Path

Shape = list["int | str | None"]


def write_model(path: Path, shape: Shape, *, dtype: int = TensorProto.FLOAT, initializer: bool = False) -> Path:
    """Write an ONNX file whose output ``y`` is a copy of its input ``x`` of ``shape``; return its path."""
    x = helper.make_tensor_value_info("x", dtype, shape)
    y = helper.make_tensor_value_info("y", dtype, shape)
    weight = helper.make_tensor("w", TensorProto.FLOAT, [1], [0.0])
    inputs = [x, helper.make_tensor_value_info("w", TensorProto.FLOAT, [1])] if initializer else [x]
    graph = helper.make_graph([helper.make_node("Identity", ["x"], ["y"])], "g", inputs, [y], [weight])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=7)
    onnx.save(model, str(path))
    return path


@dataclass
class Project:
    """A folder with ``m.onnx`` and ``hil.toml``."""

    root: Path
    shape: Shape = field(default_factory=lambda: ["batch", 2])
    extra: str = ""

    def signature(self) -> Signature:
        """Write the model again; return its signature."""
        return read_signature(write_model(self.root / "m.onnx", self.shape))

    def open(
        self,
        source: str,
        *,
        preprocess: str | None = None,
        ranges: dict[str, tuple[float, float]] | None = None,
        signature: Signature | None = None,
        samples: int | None = None,
    ) -> Dataset:
        """Open ``source`` as data of the model ``m``; return the data set."""
        plain = self.signature()
        path = self.root / "hil.toml"
        path.write_text(f'[models.m]\npath = "m.onnx"\ndata = "synthetic"\n{self.extra}\n')
        own = signature or declare(plain, load(path).spec.models["m"], "m")
        return open_dataset(
            source,
            config=load(path),
            model="m",
            signature=own,
            preprocess=preprocess,
            ranges=ranges or {},
            where="hil.toml:3",
            samples=samples,
        )

    def save(self, **arrays: np.ndarray) -> str:
        """Save ``data.npz``; names may contain dots. Return its name."""
        np.savez(self.root / "data.npz", **arrays)  # type: ignore[arg-type]  # numpy types the keyword allow_pickle alone
        return "data.npz"

    def module(self, name: str, text: str) -> None:
        """Write a module of the user that imports ``numpy`` as ``np``."""
        (self.root / f"{name}.py").write_text(f"import numpy as np\n{text}")


def spec(name: str, dtype: str, *shape: int | str | None) -> TensorSpec:
    """Return a ``TensorSpec`` with this shape."""
    return TensorSpec(name, dtype, shape)
