"""Check ``[models.NAME.outputs.OUTPUT]`` for keys that contradict each other or have no effect."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hil.config.data_sources import is_callable
from hil.config.explain import Keys, Mistake

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from hil.config.spec import ModelSpec, OutputSpec

BOXES = ("layout", "boxes", "nms")
SCORED = ("classification", "detection", "segmentation", "keypoints")
"""The kinds whose answers have a threshold."""


def mistakes(keys: Keys, model: ModelSpec) -> Iterator[Mistake]:
    """Yield the mistakes in the outputs of a model, without reading its ONNX file."""
    for name, declared in model.outputs.items():
        yield from _output((*keys, "outputs", name), declared)
    yield from _detector((*keys, "outputs"), model.outputs)


def _output(keys: Keys, declared: OutputSpec) -> Iterator[Mistake]:
    kind, written = declared.kind, declared.model_fields_set
    if kind is None and declared.decode is None and "axis" not in written:
        yield Mistake(keys, 'states nothing about the output: write e.g. kind = "classification", or remove the table')
    if declared.decode is not None and not is_callable(declared.decode):
        yield Mistake((*keys, "decode"), f"{declared.decode!r} is not written as package.module:callable")
    if declared.decode is not None and kind not in {None, "detection"}:
        yield Mistake((*keys, "kind"), "has no effect, since decode returns the answers: remove kind or decode")
    for key in BOXES:
        if key in written and kind != "detection":
            yield Mistake((*keys, key), 'describes boxes: write kind = "detection" too, or remove it')
        elif key in written and key != "nms" and declared.decode is not None:
            yield Mistake((*keys, key), f"has no effect, since decode returns the boxes: remove {key} or decode")
    if "blank" in written and kind != "ctc":
        yield Mistake((*keys, "blank"), 'is a class of kind = "ctc": write kind = "ctc" too, or remove it')
    if "score" in written and kind not in SCORED:
        yield Mistake((*keys, "score"), f"is a threshold of the kinds {', '.join(SCORED)}: remove it")


def _detector(keys: Keys, outputs: Mapping[str, OutputSpec]) -> Iterator[Mistake]:
    """Yield each key whose values differ between outputs of kind "detection", which are read as one detector."""
    boxes = {name: one for name, one in outputs.items() if one.kind == "detection"}
    for key in (*BOXES, "score", "decode"):
        values = {name: getattr(one, key) for name, one in boxes.items() if key in one.model_fields_set}
        if len(set(values.values())) > 1:
            last = list(values)[-1]
            what = f"differs from the {key} of another output of this detector: write {key} in one of them only"
            yield Mistake((*keys, last, key), what)
