"""Runs ONNX Runtime sessions on the host, with arrays of ml_dtypes for the types that numpy lacks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hil.agent.runtimes import ort_values
from hil.dtypes import for_file, from_file

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy as np
    import onnxruntime


class HostSession:
    """A session of ONNX Runtime whose ``run`` is ``run_on_host``, for code of others that calls it."""

    def __init__(self, session: onnxruntime.InferenceSession) -> None:
        """Use ``session`` for everything else."""
        self._session = session

    def run(self, names: Sequence[str] | None, feeds: Mapping[str, np.ndarray]) -> list[Any]:
        """Return the outputs ``names`` for one batch; ``None`` means all."""
        names = [one.name for one in self._session.get_outputs()] if names is None else names
        return run_on_host(self._session, names, feeds)

    def __getattr__(self, name: str) -> Any:
        """Return the session's own attribute."""
        return getattr(self._session, name)


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
