"""Compares the answers that a reference and an engine give, without labels, for outputs whose kind is declared.

There is one module for each kind of answer. ``hil.checks.answers`` judges how many answers changed.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from hil.config.spec import DetectionSpec
from hil.dtypes import is_float
from hil.errors import UserError, did_you_mean
from hil.metrics import boxes, own
from hil.metrics.agreement.classes import Classes, Pixels
from hil.metrics.agreement.detected import HIGHEST, Boxes
from hil.metrics.agreement.evidence import class_axis
from hil.metrics.agreement.sequences import Decoded, Texts
from hil.metrics.agreement.vectors import Embeddings, Points, Values

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from hil.config.spec import ModelSpec, OutputSpec
    from hil.metrics.agreement.evidence import Answers
    from hil.onnx_files.signature import Signature, TensorSpec

__all__ = ["open_answers", "refuse_misfits"]

_OPEN: Mapping[str, Callable[[str, OutputSpec], Answers]] = {
    "classification": Classes,
    "segmentation": Pixels,
    "ctc": Texts,
    "embedding": Embeddings,
    "regression": Values,
    "keypoints": Points,
}


def open_answers(
    spec: ModelSpec, root: Path = Path(), *, model: str = "", where: str = "outputs"
) -> tuple[Answers, ...]:
    """Return the objects that compare answers: one for each output with a kind or ``decode``.

    All outputs of a detector share one object. Callables are imported from the folder ``root``, else as installed;
    ``model`` and ``where`` (e.g. ``hil.toml:12``) are for messages. Raises ``UserError`` if a callable cannot be
    imported.
    """
    return tuple(_opened(spec, root, model, where))


def _opened(spec: ModelSpec, root: Path, model: str, where: str) -> Iterator[Answers]:
    detecting = {name: one for name, one in spec.outputs.items() if one.kind == "detection"}
    if detecting:
        layout = _layout(detecting, spec.detection)
        decode = own.decoder(layout, root, model, where) if layout.decode else boxes.decoder(layout)
        # A callable may return scores of any unit.
        yield Boxes(tuple(detecting), decode, layout.score, math.inf if layout.decode else HIGHEST)
    for name, one in spec.outputs.items():
        if one.kind is not None and one.kind in _OPEN:
            yield _OPEN[one.kind](name, one)
        elif one.kind is None and one.decode is not None:
            yield Decoded(name, one, root, model, where)


def _layout(outputs: Mapping[str, OutputSpec], base: DetectionSpec | None) -> DetectionSpec:
    """Return ``base``, or the default layout, with the keys and the threshold that the outputs declare."""
    keys = ("layout", "boxes", "nms", "decode", "score")
    own_keys = {key: getattr(one, key) for one in outputs.values() for key in keys if key in one.model_fields_set}
    threshold = next(iter(outputs.values())).score
    return (base or DetectionSpec()).model_copy(update={"score": threshold, **own_keys})


def refuse_misfits(spec: ModelSpec, signature: Signature, model: str, where: Callable[..., str]) -> None:
    """Raise ``UserError`` for a declared output that the model lacks, or whose kind does not fit its shape.

    ``where`` returns the place of a key below ``[models.NAME]``. Only shapes that the file states are compared.
    """
    outputs = {one.name: one for one in signature.outputs}
    for name, declared in spec.outputs.items():
        place = where("outputs", name)
        if name not in outputs:
            known = ", ".join(outputs)
            raise UserError(
                f"{place}: model {model} has no output {name!r} (its outputs are {known}): correct the name"
                + did_you_mean(name, outputs)
            )
        try:
            _refuse(name, declared, outputs[name])
        except UserError as error:
            raise UserError(f"{place}: model {model}: {error}") from None
    together = tuple(name for name, one in spec.outputs.items() if one.kind == "detection")
    if together:
        _refuse_layout(spec, [outputs[name] for name in together], f"{where('outputs', together[0])}: model {model}")


def _refuse(name: str, declared: OutputSpec, output: TensorSpec) -> None:
    if declared.kind is None or not output.ranked or not is_float(np.dtype(output.dtype)):
        return
    rank = len(output.shape)
    if declared.kind in _RANKS and rank not in _RANKS[declared.kind]:
        least, most = _RANKS[declared.kind][0], _RANKS[declared.kind][-1]
        needed = f"{least}" if least == most else f"{least} to {most}"
        raise UserError(
            f"output {output} has {rank} axes: kind {declared.kind!r} needs {needed}: correct or remove the kind"
        )
    if declared.axis is not None:
        class_axis(name, declared, rank, declared.axis)


_RANKS: Mapping[str, range] = {
    "classification": range(2, 7),
    "segmentation": range(3, 6),
    "detection": range(2, 4),
    "ctc": range(3, 4),
    "embedding": range(2, 5),
    "keypoints": range(3, 5),
}
"""The numbers of axes that an output of floats may have, by kind; the first axis is that of the samples."""


def _refuse_layout(spec: ModelSpec, outputs: list[TensorSpec], place: str) -> None:
    """Raise ``UserError`` if outputs of known shapes do not have the layout."""
    layout = _layout({one.name: spec.outputs[one.name] for one in outputs}, spec.detection)
    shapes = [(1, *one.shape[1:]) for one in outputs]
    if layout.decode or not all(one.ranked and one.shape for one in outputs):
        return
    if all(isinstance(size, int) for shape in shapes for size in shape):
        sizes = [tuple(int(size or 0) for size in shape) for shape in shapes]
        arrays = {one.name: np.zeros(size, one.dtype) for one, size in zip(outputs, sizes, strict=True)}
        try:
            boxes.LAYOUTS[layout.layout](arrays)
        except UserError as error:
            what = 'write kind = "detection" for every output of the detector, and its layout'
            raise UserError(f"{place}: {error}; {what}") from None
