"""Runs a model on the host's CPU, and splits a list of tensors into portions of bounded size."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx

from hil.agent.runtimes.onnxruntime import open_session
from hil.errors import EngineBuildError, EngineError
from hil.onnx_files.host_run import run_on_host

Array = npt.NDArray[Any]
Values = dict[str, Array]
Runner = Callable[[onnx.ModelProto, Mapping[str, Array]], Values]
"""A function that builds a model where the engine runs, runs it on inputs by name, and returns the outputs by name.

It raises ``EngineBuildError`` or ``EngineError``.
"""

AT_ONCE = 256 * 2**20
"""Limit in bytes for the input and output tensors of one variant."""


def on_host(model: onnx.ModelProto, feeds: Mapping[str, Array]) -> Values:
    """Return the outputs of ``model`` under ONNX Runtime's CPU provider, by name; only those that are arrays.

    Raises ``EngineBuildError`` if ONNX Runtime rejects the model, ``EngineError`` if the run fails.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.enable_cpu_mem_arena = False
    # Each session runs once: threads that wait actively between nodes cost more time of the processor than they save.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    try:
        session = open_session(model.SerializeToString(), options)
        names = [output.name for output in session.get_outputs()]
        input_names = {value.name for value in session.get_inputs()}
        results = run_on_host(session, names, {name: array for name, array in feeds.items() if name in input_names})
    except Exception as error:  # noqa: BLE001 - ONNX Runtime's errors share no class of their own
        text = " ".join(str(error).split())[:400]
        kind = EngineError if "RUNTIME_EXCEPTION" in text or "INVALID_ARGUMENT" in text else EngineBuildError
        raise kind(f"ONNX Runtime failed on a part of the model: {text}: use a model that it supports") from None
    return {name: array for name, array in zip(names, results, strict=True) if isinstance(array, np.ndarray)}


def portions(names: Iterable[str], sizes: Mapping[str, int], most: int = AT_ONCE) -> Iterator[list[str]]:
    """Yield the tensors ``names``, in order, in lists whose ``sizes`` add up to at most ``most`` bytes.

    A tensor larger than ``most`` gets a list of its own. A tensor without a size counts as 0 bytes.
    """
    portion: list[str] = []
    total = 0
    for name in names:
        size = sizes.get(name, 0)
        if portion and total + size > most:
            yield portion
            portion, total = [], 0
        portion.append(name)
        total += size
    if portion:
        yield portion
