"""Define a finding on a model, and name the nodes of a finding."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from hil.text import joined

if TYPE_CHECKING:
    from collections.abc import Sequence

    import onnx

Level = Literal["bad", "warn", "unknown"]
LEVELS: tuple[Level, ...] = ("bad", "warn", "unknown")
"""``bad`` stops the model or makes its results wrong, ``warn`` costs speed or needs care, ``unknown`` could not be
judged."""

NAMED = 3
"""The most nodes or tensors that one finding names."""


@dataclass(frozen=True)
class Finding:
    """One line of ``hil lint``.

    Attributes:
        rule: the rule that it comes from, such as ``operator``; a stable name for scripts.
        where: the faulty node, tensor or file.
        what: what is wrong there.
        fix: what to do.
        level: how serious it is.
    """

    rule: str
    where: str
    what: str
    fix: str
    level: Level = "bad"

    def __post_init__(self) -> None:
        """Escape unsafe characters: most of the text comes from the model's file."""
        for name in ("where", "what", "fix"):
            object.__setattr__(self, name, joined(getattr(self, name)))

    def __str__(self) -> str:
        """Return the finding as one line, as messages are formed: where, what, what to do."""
        return f"{self.where}: {self.what}: {self.fix}"

    def as_dict(self) -> dict[str, str]:
        """Return the finding for ``hil lint --json``."""
        return {"rule": self.rule, "level": self.level, "where": self.where, "what": self.what, "fix": self.fix}


def nodes(concerned: Sequence[onnx.NodeProto]) -> str:
    """Return the nodes as text: ``node 'conv1' (Conv)``; of many, the first ``NAMED`` and their number."""
    if len(concerned) == 1:
        return f"node {_node(concerned[0])}"
    return f"{len(concerned)} nodes ({_listed([_node(node) for node in concerned])})"


def tensors(names: Sequence[str], kind: str = "tensor", kinds: str = "") -> str:
    """Return the tensors as text: ``tensor 'x'``; of many, the first ``NAMED`` and their number.

    ``kind`` is what they are, ``kinds`` its plural.
    """
    if len(names) == 1:
        return f"{kind} {names[0]!r}"
    return f"{len(names)} {kinds or kind + 's'} ({_listed([repr(name) for name in names])})"


def _node(node: onnx.NodeProto) -> str:
    operator = f"{node.domain}:{node.op_type}" if node.domain else node.op_type
    # Many exporters name no nodes; the tensor that a node makes identifies it as well.
    return f"{node.name!r} ({operator})" if node.name else f"that makes {next(iter(node.output), '')!r} ({operator})"


def _listed(texts: Sequence[str]) -> str:
    return ", ".join(texts[:NAMED]) + (", …" if len(texts) > NAMED else "")
