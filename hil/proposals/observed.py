"""What a trial run of one sample and the file show of a model, from which its family is recognized."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from hil.proposals.graph_facts import class_maps, has_raw_boxes, label_count, last_operators
from hil.proposals.roles import Role, image_axes, roles

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    import onnx

    from hil.onnx_files.signature import Signature
    from hil.proposals.layouts import Shape

EDGES = re.compile(r"edge_?(index|indices)|^(edges|senders|receivers)$|adjacency", re.IGNORECASE)
"""Names of inputs that state which nodes of a graph are joined."""


@dataclass(frozen=True)
class Observed:
    """A model, as a trial run of one sample showed: roles and shapes of its inputs, shapes of its outputs.

    ``ends`` has the operator that made the values of each output (``graph_facts.last_operators``). ``class_maps``,
    ``label_count`` and ``has_raw_boxes`` are the results of the functions of these names in ``graph_facts``.
    """

    roles: Mapping[str, Role]
    inputs: Mapping[str, Shape]
    outputs: Mapping[str, Shape]
    ends: Mapping[str, str] = field(default_factory=dict)
    class_maps: Collection[str] = ()
    label_count: int = 0
    has_raw_boxes: bool = False

    @property
    def image(self) -> tuple[int, int] | None:
        """Height and width of the first image input; ``None`` if no input is an image."""
        for name, role in self.roles.items():
            axes = image_axes(self.inputs[name]) if role is Role.IMAGE else None
            if axes is not None:
                return self.inputs[name][axes[1]], self.inputs[name][axes[2]]
        return None


def observed_of(
    model: onnx.ModelProto, signature: Signature, inputs: Mapping[str, Shape], outputs: Mapping[str, Shape]
) -> Observed:
    """Return what the file and the shapes of a trial run show."""
    graph = model.graph
    maps, raw = class_maps(graph), has_raw_boxes(graph)
    return Observed(roles(signature), inputs, outputs, last_operators(graph), maps, label_count(model), raw)
