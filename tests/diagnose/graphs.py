"""Small graphs for the diagnosis, and changed copies of them."""

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
    """Return a model from image[batch, 2, 6, 6] through conv, (norm,) relu, mean, flat and head to logits[batch, 4]."""
    return onnx.load(str(convnet(folder / "net.onnx", norm=norm)))


def feeds(count: int = 3, seed: int = 5) -> dict[str, np.ndarray[Any, Any]]:
    """Return inputs of ``net``."""
    return {"image": images(count, seed)}


def copied(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return a copy of ``model``."""
    made = onnx.ModelProto()
    made.CopyFrom(model)
    return made


def with_constant(
    model: onnx.ModelProto, name: str, change: Callable[[np.ndarray[Any, Any]], np.ndarray[Any, Any]]
) -> onnx.ModelProto:
    """Return a copy with initializer ``name`` changed."""
    made = copied(model)
    for tensor in made.graph.initializer:
        if tensor.name == name:
            tensor.CopyFrom(numpy_helper.from_array(change(numpy_helper.to_array(tensor)).astype(np.float32), name))
    return made


def node(model: onnx.ModelProto, name: str) -> onnx.NodeProto:
    """Return the node of that name."""
    match: onnx.NodeProto = next(node for node in model.graph.node if node.name == name)
    return match
