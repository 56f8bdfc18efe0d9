"""Small graphs for taking apart, and copies of them with something changed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
from onnx import numpy_helper

from tests.models import convnet, images

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def net(folder: Path, *, norm: bool = False) -> onnx.ModelProto:
    """image[batch, 2, 6, 6] through conv, (norm,) relu, mean, flat and head to logits[batch, 4]."""
    return onnx.load(str(convnet(folder / "net.onnx", norm=norm)))


def feeds(count: int = 3, seed: int = 5) -> dict[str, np.ndarray[Any, Any]]:
    """Inputs of ``net``."""
    return {"image": images(count, seed)}


def copied(model: onnx.ModelProto) -> onnx.ModelProto:
    """A model of its own."""
    made = onnx.ModelProto()
    made.CopyFrom(model)
    return made


def with_constant(
    model: onnx.ModelProto, name: str, change: Callable[[np.ndarray[Any, Any]], np.ndarray[Any, Any]]
) -> onnx.ModelProto:
    """A copy with one initializer changed."""
    made = copied(model)
    for tensor in made.graph.initializer:
        if tensor.name == name:
            tensor.CopyFrom(numpy_helper.from_array(change(numpy_helper.to_array(tensor)).astype(np.float32), name))
    return made


def node(model: onnx.ModelProto, name: str) -> onnx.NodeProto:
    """The node of that name."""
    found: onnx.NodeProto = next(one for one in model.graph.node if one.name == name)
    return found
