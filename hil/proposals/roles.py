"""The role of each input, from its name, dtype and shape: a table of rules, of which the first that applies decides."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

from hil.onnx_files.batch_axes import USUAL
from hil.onnx_files.valid_positions import MASK

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from hil.onnx_files.signature import Signature, TensorSpec

CHANNELS = frozenset({1, 3, 4})
"""Sizes of an axis that may be the channels of an image."""

FEW = frozenset({1, 2, 3, 4})
"""Sizes of the second axis of an input that is a setting of each sample."""

SMALLEST = 16
"""The smallest height and width of an image without a batch axis."""

STATE = re.compile(
    r"(^|[._/-])([hc](idden)?(_?(\d+|n|in|t|x|prev|init))?|cell)$|state|hidden|cache|past_key|past_value|memory",
    re.IGNORECASE,
)
"""Names of the inputs of recurrent models that are fed with an output of the step before."""

BEFORE_OR_AFTER = frozenset(
    {"past", "present", "prev", "previous", "next", "new", "old", "in", "out", "input", "output"}
)
"""Words in the name of a state that distinguish its value before a step from its value after it."""

STEPS = frozenset({"past", "present", "prev", "previous", "next", "new", "old"})
"""Those of them that never mean the input and the output of a call."""

IDS = re.compile(r"(^|[^a-z])(ids?|tokens?)($|[^a-z])", re.IGNORECASE)
"""Names of inputs that are tokens whatever their shape."""

AUDIO = re.compile(r"audio|wav|speech|pcm|signal|samples|sound", re.IGNORECASE)
PARAMETER = re.compile(
    r"^(sr|sample_?rate|sampling_?rate|orig_?(im|img|image|target)?_?sizes?|im(g|age)?_?(shape|size)|scale_?factor|"
    r"has_mask_input|.*(threshold|thresh)|max_(output_boxes.*|det.*))$",
    re.IGNORECASE,
)
"""Names of inputs that are one setting for the whole call."""


class Role(Enum):
    """What an input is for."""

    STATE = "state of the step before"
    PARAMETER = "parameter of the call"
    TOKENS = "tokens"
    IMAGE = "image"
    VIDEO = "video"
    AUDIO = "audio samples"
    FEATURES = "sequence of features"
    OTHER = "values"


def role_of(tensor: TensorSpec, signature: Signature) -> Role:
    """Return the role of the first rule in ``RULES`` that applies to an input of ``signature``."""
    return next((rule.role for rule in RULES if rule.applies(tensor, signature)), Role.OTHER)


def roles(signature: Signature) -> dict[str, Role]:
    """Return the role of each input by name."""
    return {one.name: role_of(one, signature) for one in signature.inputs}


def next_states(signature: Signature) -> dict[str, str]:
    """Return for each state input the output with its value after the step.

    A state is recognized by its name, or by an output that has its name with a word such as "next". Output and input
    agree in dtype and, as far as known, in shape. Of all pairs, those whose names begin or end most alike come first,
    then those first in the file.
    """
    states = [
        one
        for one in signature.inputs
        if not MASK.search(one.name) and (_is_called_state(one, signature) or _has_successor(one, signature))
    ]
    return _paired(states, signature.outputs)


def _is_called_state(tensor: TensorSpec, signature: Signature) -> bool:
    """Return whether an input has the name of a state; for a vector, also whether an output of its size has one."""
    if not STATE.search(tensor.name) or not tensor.shape:
        return False
    outputs = (one for one in signature.outputs if one.shape == tensor.shape)
    return len(tensor.shape) > 1 or any(STATE.search(one.name) or "cell" in _words(one.name) for one in outputs)


def _paired(states: Sequence[TensorSpec], outputs: Sequence[TensorSpec]) -> dict[str, str]:
    pairs = [(state.name, one.name) for state in states for one in outputs if _fits(state, one)]
    # A recurrent layer's own output may have the same shape, but only the state shares the name.
    pairs.sort(key=lambda pair: (-_names_alike(*pair), -_shared_words(*pair)))
    found: dict[str, str] = {}
    for state, output in pairs:
        if state not in found and output not in found.values():
            found[state] = output
    return {one.name: found[one.name] for one in states if one.name in found}


def _has_successor(tensor: TensorSpec, signature: Signature) -> bool:
    """Return whether an output is this input after a step: with its shape and dtype, and its name but for such words.

    The words are those of ``BEFORE_OR_AFTER``, such as "next". Return ``False`` for the only input, and for an input
    that may be an image. For a scalar or a vector, which may be a setting, one word must be in ``STEPS``.
    """
    if len(signature.inputs) < 2 or len(tensor.shape) > 3 or image_axes(tensor.shape) is not None:
        return False
    stem, words = _stem(tensor.name), _before_or_after(tensor.name)
    return bool(stem) and any(
        _stem(one.name) == stem
        and _before_or_after(one.name) != words
        and one.shape == tensor.shape
        and (len(tensor.shape) > 1 or bool(STEPS & {*words, *_before_or_after(one.name)}))
        for one in signature.outputs
        if _fits(tensor, one)
    )


def exchanged_states(signature: Signature) -> dict[str, str]:
    """Return the output that fits each carried input by name, for inputs that seem to be fed with another's output.

    Return an empty mapping unless the exchange makes the names of every such input and its output more alike.
    """
    carry = signature.carry
    outputs = [one for one in signature.outputs if one.name in carry.values()]
    found = _paired([signature.input(name) for name in carry], outputs)
    changed = {name: output for name, output in found.items() if carry[name] != output}
    whole = set(changed.values()) == {carry[name] for name in changed}
    better = all(_names_alike(name, output) > _names_alike(name, carry[name]) for name, output in changed.items())
    return changed if whole and better else {}


def image_axes(shape: tuple[int | str | None, ...]) -> tuple[int, int, int] | None:
    """Return the axes of channels, height and width of images; ``None`` if the shape is not that of images.

    The channels are axis 1 (NCHW) or axis 3 (NHWC), recognized by a size in ``CHANNELS``, else axis 1. A shape of three
    axes may be one image. A few rows and columns are a matrix, such as those of cameras.
    """
    if len(shape) == 3 and shape[0] == 3:
        return (0, 1, 2) if all(not isinstance(size, int) or size >= SMALLEST for size in shape[1:]) else None
    if len(shape) != 4 or all(isinstance(size, int) and size <= max(CHANNELS) for size in shape[2:]):
        return None
    if shape[1] in CHANNELS:
        return (1, 2, 3)
    if shape[3] in CHANNELS:
        return (3, 1, 2)
    return None if isinstance(shape[1], int) else (1, 2, 3)


@dataclass(frozen=True)
class Rule:
    """One rule: ``applies`` gets an input and its signature."""

    role: Role
    applies: Callable[[TensorSpec, Signature], bool]


def _is_parameter(tensor: TensorSpec, signature: Signature) -> bool:
    if not tensor.shape:
        return True
    others = [one for one in signature.inputs if len(one.shape) > 1]
    one_axis = len(tensor.shape) == 1 and bool(others)
    return one_axis and (isinstance(tensor.shape[0], int) or PARAMETER.search(tensor.name) is not None)


def _is_audio(tensor: TensorSpec, signature: Signature) -> bool:
    shape = tensor.shape
    flat = len(shape) == 2 or (len(shape) == 3 and shape[1] == 1)
    # Samples are the last axis wherever they occur: a name that is also another axis is no number of samples.
    inner = {size for one in signature.inputs for size in one.shape[1:-1] if isinstance(size, str)}
    is_open = bool(shape) and not isinstance(shape[-1], int) and shape[-1] not in inner
    return (
        (_is_float(tensor) or tensor.dtype == "int16") and flat and (is_open or AUDIO.search(tensor.name) is not None)
    )


def _is_tokens(tensor: TensorSpec, signature: Signature) -> bool:
    """Return whether an input may be tokens: not a few numbers for each sample, such as a size."""
    if tensor.dtype not in {"int32", "int64"} or len(tensor.shape) not in {1, 2}:
        return False
    first = {str(one.shape[0]) for one in signature.inputs if len(one.shape) > 1}  # as of samples, points or voxels
    one_a_sample = len(tensor.shape) == 1 and (str(tensor.shape[0]).lower() in USUAL or str(tensor.shape[0]) in first)
    return IDS.search(tensor.name) is not None or not (one_a_sample or is_setting(tensor))


def is_setting(tensor: TensorSpec) -> bool:
    """Return whether each sample has one to four numbers of an input, such as the size of its image."""
    return len(tensor.shape) == 2 and tensor.shape[1] in FEW


def _is_float(tensor: TensorSpec) -> bool:
    return "float" in tensor.dtype


RULES = (
    Rule(Role.STATE, lambda tensor, signature: tensor.name in next_states(signature)),
    Rule(Role.PARAMETER, _is_parameter),
    Rule(Role.TOKENS, _is_tokens),
    Rule(Role.IMAGE, lambda tensor, _: image_axes(tensor.shape) is not None),
    Rule(Role.VIDEO, lambda tensor, _: len(tensor.shape) == 5),
    Rule(Role.AUDIO, _is_audio),
    Rule(Role.FEATURES, lambda tensor, _: _is_float(tensor) and len(tensor.shape) == 3),
)


def _fits(state: TensorSpec, output: TensorSpec) -> bool:
    if output.dtype != state.dtype or (output.ranked and len(output.shape) != len(state.shape)):
        return False
    pairs = zip(state.shape, output.shape, strict=False)
    return all(one == other or not (isinstance(one, int) and isinstance(other, int)) for one, other in pairs)


def _stem(name: str) -> str:
    """Return a name in small letters without separators, and without the words for before and after a step."""
    return "".join(word for word in _words(name) if word not in BEFORE_OR_AFTER)


def _before_or_after(name: str) -> list[str]:
    return [word for word in _words(name) if word in BEFORE_OR_AFTER]


def _words(name: str) -> list[str]:
    return re.split(r"[^a-z0-9]+", name.lower())


def _shared_words(one: str, other: str) -> int:
    return len({*_words(one)} & {*_words(other)})


def _names_alike(one: str, other: str) -> int:
    return _alike(_stem(one), _stem(other))


def _alike(one: str, other: str) -> int:
    """Return the number of equal characters at the beginning of two names, or at their end if these are more."""
    return max(_common(one, other), _common(one[::-1], other[::-1]))


def _common(one: str, other: str) -> int:
    return next((n for n, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))
