"""Declared outputs that a model lacks or that do not fit its shapes are found before anything is built."""

from __future__ import annotations

from typing import Any

import pytest

from hil.config.spec import ModelSpec
from hil.errors import UserError
from hil.metrics.agreement import refuse_misfits
from hil.onnx_files.signature import Signature, TensorSpec

Shape = tuple[int | str | None, ...]


def refused(shapes: dict[str, Shape], **outputs: Any) -> str:
    """Return the message for a model with outputs of these shapes; empty if it is accepted."""
    spec = ModelSpec.model_validate({"path": "m.onnx", "data": "d.npz", "outputs": outputs})
    signature = Signature((), tuple(TensorSpec(name, "float32", shape) for name, shape in shapes.items()))
    try:
        refuse_misfits(spec, signature, "m", lambda *keys: f"hil.toml:9 {'.'.join(keys)}")
    except UserError as error:
        return str(error)
    return ""


@pytest.mark.parametrize(
    ("shape", "declared", "what"),
    [
        (("n", 10), {"kind": "classification", "axis": 2}, "axis 2"),
        (("n", 10), {"kind": "classification", "axis": 0}, "axis 0"),
        ((10,), {"kind": "classification"}, "1 axes"),
        (("n", 10), {"kind": "segmentation"}, "2 axes"),
        (("n", 100, 7), {"kind": "detection"}, "do not have the layout end-to-end"),
        (("n", 100, 4), {"kind": "detection", "layout": "boxes-scores"}, "for every output of the detector"),
    ],
)
def test_kinds_that_do_not_fit(shape: Shape, declared: dict[str, Any], what: str) -> None:
    """If a kind does not fit an output, the message has the place, the model and what does not fit."""
    message = refused({"y": shape}, y=declared)
    assert message.startswith("hil.toml:9 outputs.y: model m: ")
    assert what in message


def test_an_unknown_output() -> None:
    """An output that the model lacks is refused with the names that it has."""
    assert "model m has no output 'logit' (its outputs are logits)" in refused(
        {"logits": ("n", 10)}, logit={"kind": "classification"}
    )


@pytest.mark.parametrize(
    ("shape", "declared"),
    [
        (("n", 10), {"kind": "classification", "axis": -1}),
        (("n", 100, 6), {"kind": "detection"}),
        (("n", "boxes", 6), {"kind": "detection"}),
        (("n", 21, "h", "w"), {"kind": "segmentation"}),
    ],
)
def test_kinds_that_fit(shape: Shape, declared: dict[str, Any]) -> None:
    """Kinds that fit, and sizes that are known only in a run, are accepted."""
    assert not refused({"y": shape}, y=declared)
