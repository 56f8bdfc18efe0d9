"""Runs ONNX Runtime sessions on the host, with arrays of ml_dtypes for the types that numpy lacks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hil.agent.runtimes import ort_values
from hil.dtypes import for_file, from_file

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy as np
    import onnxruntime


def run_on_host(
    session: onnxruntime.InferenceSession, names: Sequence[str], feeds: Mapping[str, np.ndarray]
) -> list[Any]:
    """Return the outputs ``names`` for one batch. Raises ONNX Runtime's exceptions, which share no class of their own.

    An output that is not a tensor is returned as ONNX Runtime does, for example as a list.
    """
    if not ort_values.needs_values(session):
        return list(session.run(names, feeds))
    fed = ort_values.values_of({name: for_file(array) for name, array in feeds.items()})
    return [from_file(array) for array in ort_values.run(session, list(names), fed)]
