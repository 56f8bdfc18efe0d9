"""Mistakes in ``[models.NAME.outputs.OUTPUT]`` that need no ONNX file."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from hil.config.checks.output_checks import mistakes
from hil.config.spec import ModelSpec

if TYPE_CHECKING:
    from collections.abc import Mapping


def listed(**outputs: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return the last key and the text of each mistake."""
    spec = ModelSpec.model_validate({"path": "m.onnx", "data": "d.npz", "outputs": outputs})
    return [(str(mistake.keys[-1]), mistake.what) for mistake in mistakes(("models", "m"), spec)]


@pytest.mark.parametrize(
    ("declared", "key", "what"),
    [
        ({}, "y", "states nothing"),
        ({"decode": "function"}, "decode", "package.module:callable"),
        ({"kind": "classification", "decode": "a:b"}, "kind", "no effect"),
        ({"kind": "classification", "layout": "objectness"}, "layout", "describes boxes"),
        ({"kind": "detection", "decode": "a:b", "boxes": "centers"}, "boxes", "no effect"),
        ({"kind": "classification", "blank": 1}, "blank", "ctc"),
        ({"kind": "embedding", "score": 0.5}, "score", "threshold"),
    ],
)
def test_keys_without_effect(declared: dict[str, Any], key: str, what: str) -> None:
    """A key that has no effect, or contradicts another, is a mistake."""
    ((place, text),) = listed(y=declared)
    assert place == key
    assert what in text


def test_one_detector_has_one_layout() -> None:
    """Outputs of one detector must not declare two layouts."""
    one, other = ({"kind": "detection", "layout": layout} for layout in ("boxes-scores", "efficient-nms"))
    assert listed(boxes=one, scores=other)[0][0] == "layout"
    assert listed(boxes=one, scores={"kind": "detection"}) == []
