"""Running variants of a model on the host's CPU, as the reference is run."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx

from hil.errors import EngineBuildError, EngineError

Array = npt.NDArray[Any]
Values = dict[str, Array]
Runner = Callable[[onnx.ModelProto, Mapping[str, Array]], Values]
"""Builds a model where the engine runs and returns its outputs. Raises ``EngineBuildError``, ``EngineError``."""

AT_ONCE = 256 * 2**20
"""Bytes of tensors that one variant takes and gives."""


def on_host(model: onnx.ModelProto, feeds: Mapping[str, Array]) -> Values:
    """Outputs under ONNX Runtime's CPU provider; those that are no arrays are left out."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.enable_cpu_mem_arena = False
    try:
        session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
        names = [output.name for output in session.get_outputs()]
        wanted = {value.name for value in session.get_inputs()}
        results = session.run(names, {name: array for name, array in feeds.items() if name in wanted})
    except Exception as error:  # noqa: BLE001 - ONNX Runtime's errors share no class of their own
        words = " ".join(str(error).split())[:400]
        kind = EngineError if "RUNTIME_EXCEPTION" in words or "INVALID_ARGUMENT" in words else EngineBuildError
        raise kind(f"ONNX Runtime failed on a part of the model: {words}: give it a model that it can run") from None
    return {name: array for name, array in zip(names, results, strict=True) if isinstance(array, np.ndarray)}


def portions(names: Iterable[str], sizes: Mapping[str, int], most: int = AT_ONCE) -> Iterator[list[str]]:
    """``names`` in their order, in lists of at most ``most`` bytes and at least one name."""
    held: list[str] = []
    total = 0
    for name in names:
        size = sizes.get(name, 0)
        if held and total + size > most:
            yield held
            held, total = [], 0
        held.append(name)
        total += size
    if held:
        yield held
