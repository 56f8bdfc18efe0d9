"""State which nodes of a model in INT8 compute in floating point."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping


def floating_texts(floating: Mapping[str, Any]) -> Iterator[str]:
    """Yield texts: how many nodes stay in floating point and why, and which excluded nodes are partly rounded.

    ``floating`` is what ``hil.quantize.floating.floating_facts`` returned.
    """
    if floating.get("count"):
        reasons = ", ".join(f"{count} for {reason}" for reason, count in floating["reasons"].items())
        yield f"{floating['count']} nodes stay in floating point ({reasons})"
    for node, texts in list((floating.get("rounded") or {}).items())[:3]:
        yield f"excluded node {node} computes in floating point, but {' and '.join(texts)}"
