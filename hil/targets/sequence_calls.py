"""Runs sequences of steps in an engine on a target, in parts of bounded size."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy.typing as npt

    from hil.targets.calls import AgentCalls

    Named = list[tuple[str, npt.NDArray[Any]]]

LARGEST_PART = 32 << 20
"""Bytes of inputs of a sequence that are sent at a time."""


class SequenceCalls(ABC):
    """The part of ``EngineWorker`` that runs sequences."""

    _client: AgentCalls

    @abstractmethod
    def _call(self, op: str, deadline: float, feeds: Sequence[Mapping[str, Any]] = (), **fields: Any) -> Any:
        """Send one request to the worker, which has ``deadline`` seconds for it.

        Return a pair: the fields of its answer, and its arrays as a list of (name, array).
        """

    def sequence(
        self,
        steps: Mapping[str, npt.NDArray[Any]],
        begin: Mapping[str, npt.NDArray[Any]] | None,
        carry: Mapping[str, str],
        *,
        key: str = "",
        deadline: float = 60,
    ) -> list[tuple[str, npt.NDArray[Any]]]:
        """Run the steps of one sequence, one after another; return the outputs of all steps, ``[steps, *shape]``.

        ``steps`` has ``[steps, *shape]`` for each input that is not in ``carry``, which names the output that feeds
        each carried input. ``begin`` has the first states; if it is ``None``, the sequence ``key`` continues from its
        last states. Sequences of different keys do not share a state. ``deadline`` (seconds) applies to each part of
        the sequence that is sent.
        """
        count = len(next(iter(steps.values())))
        most = max(1, LARGEST_PART // max(1, sum(array[0].nbytes for array in steps.values())))
        parts: list[Named] = []
        done = 0
        while done < count:
            part = {name: array[done : done + most] for name, array in steps.items()}
            feed = part if done or begin is None else {**part, **begin}
            named = self._call("sequence", deadline, [feed], carry=dict(carry), key=key)[1]
            parts.append(named)
            ran = len(named[0][1]) if named else 0
            with self._client.reading():
                if not 0 < ran <= count - done:
                    raise ValueError(f"{ran} steps were run, {count - done} were requested")
            done += ran
        return [(name, np.concatenate([part[at][1] for part in parts])) for at, (name, _) in enumerate(parts[0])]
