"""Which GPUs and which releases of TensorRT can run a precision, and so which Jetson modules and JetPack releases."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hil.jetson.jetpack_releases import Release
    from hil.jetson.modules import Module

Version = tuple[int, ...]


@dataclass(frozen=True)
class Need:
    """The compute capability and the release of TensorRT that a precision needs.

    Attributes:
        sm: the oldest compute capability with this precision, as CUDA reports it; ``None`` if all have the precision.
        lacking: newer compute capabilities without this precision.
        tensorrt: the first release of TensorRT with this precision; ``None`` if all from 8.0 on have the precision.
        source: where the row comes from.
    """

    sm: str | None
    lacking: tuple[str, ...]
    tensorrt: str | None
    source: str


_MATRIX = "support matrices of TensorRT 8.x and 10.1"
NEEDS: dict[str, Need] = {
    "fp32": Need(None, (), None, _MATRIX),
    "tf32": Need("8.0", (), None, _MATRIX),
    "fp16": Need("5.3", (), None, _MATRIX),
    "bf16": Need("8.0", (), "10.0", "support matrix of TensorRT 10.1; BuilderFlag.BF16 in its Python API"),
    "int8": Need("6.1", ("6.2",), None, f"{_MATRIX}; for 6.2 (TX2), NVIDIA's forum, thread 56161"),
    "fp8": Need("8.9", (), "10.0", "TensorRT-RTX, Working with Quantized Types; support matrix of TensorRT 10.1"),
    "fp4": Need("10.0", (), "10.8", "TensorRT-RTX, Working with Quantized Types; release notes of TensorRT 10.8"),
    "int4": Need("8.0", (), "10.0", "support matrix of TensorRT-RTX (8.6 has it, 7.5 not); INT4 in the API of 10.0"),
}
"""By precision. No source states whether Orin (8.7) has FP8, FP4 or INT4: this follows from the oldest capability."""


def refusal(precision: str, sm: str | None, tensorrt: str | None) -> str:
    """Return why a GPU with ``sm`` or this release of TensorRT cannot run ``precision``; empty if it may.

    An unknown ``sm`` or release is not a reason.
    """
    need = NEEDS.get(precision)
    if need is None:
        return f"{precision} is not a precision of TensorRT"
    has, release = _version(sm), _version(tensorrt)
    if has and need.sm is not None and (has < _version(need.sm) or sm in need.lacking):
        besides = f", but not {', '.join(need.lacking)}" if need.lacking else ""
        return f"{precision} needs a GPU of compute capability {need.sm} or newer{besides}; this one has {sm}"
    if release and need.tensorrt is not None and release < _version(need.tensorrt):
        return f"{precision} needs TensorRT {need.tensorrt} or newer; this is {tensorrt}"
    return ""


def refusal_of_module(precision: str, module: Module, release: Release | None = None) -> str:
    """Return why a module, with the TensorRT of ``release`` if given, cannot run ``precision``; empty if it may."""
    why = refusal(precision, module.sm, None if release is None else release.tensorrt)
    which = f"{module.name}{f' with JetPack {release.jetpack}' if release is not None else ''}"
    return f"{why} ({which})" if why else ""


def _version(text: str | None) -> Version:
    """Return the first two numbers of a version, ``(10, 3)`` for ``10.3.0``; empty if ``text`` is not a version."""
    match = re.match(r"(\d+)\.(\d+)", text or "")
    return () if match is None else (int(match[1]), int(match[2]))
