"""The agent's ONNX Runtime and its running of sequences, in this process, with a runner that may be faulty."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from hil.agent.runtimes.onnxruntime import OnnxRuntime
from hil.agent.runtimes.recurrence import Recurrence
from hil.agent.workers.stepping import Sequences

if TYPE_CHECKING:
    from collections.abc import Mapping

    import onnx

    from benchmarks.sequences.runner import Array, Behaviour


class FaultyRecurrence(Recurrence):
    """Carries states as ``behaviour`` does."""

    def __init__(self, engine: Any, carry: Mapping[str, str], begin: Mapping[str, Array], behaviour: Behaviour) -> None:
        super().__init__(engine, carry, begin)
        self._behaviour, self._run = behaviour, dict[str, Any]()
        self._states = behaviour.begin({name: np.array(begin[name]) for name in carry})
        self._number = 0

    def step(self, feed: Mapping[str, Array]) -> list[Any]:
        """Run the next step with the behaviour."""
        known = {port.name for port in self.engine.inputs} - {"x"}
        forced = {name: array for name, array in feed.items() if name in known}
        states = self._behaviour.states_of(self._states)
        fed = self._behaviour.feed(self._run, {"x": np.array(feed["x"])})
        answers = [np.array(one) for one in self.engine.bind({**fed, **states, **forced}).run()]
        outputs = dict(zip((port.name for port in self.engine.outputs), answers, strict=True))
        after = {name: outputs[source] for name, source in self.carry.items()}
        self._states = self._behaviour.carried(self._run, self._number, states, after, outputs)
        made = self._behaviour.answer(self._number, outputs)
        self._number += 1
        return list(made.values())


class InProcess:
    """Stands for ``hil.targets.engine_worker.EngineWorker``: the same sequences, in this process.

    With a ``behaviour``, the agent's recurrence is replaced by one that has the fault.
    """

    def __init__(self, graph: onnx.ModelProto, behaviour: Behaviour | None = None) -> None:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "model.onnx")
            path.write_bytes(graph.SerializeToString())
            self._engine: Any = OnnxRuntime().load(str(path), {"threads": 1})
        self._sequences, self._behaviour = Sequences(), behaviour
        if behaviour is not None:
            engine = self._engine
            setattr(engine, "recurrence", lambda carry, begin: FaultyRecurrence(engine, carry, begin, behaviour))  # noqa: B010 - a method of this engine alone

    def sequence(
        self,
        steps: Mapping[str, Array],
        begin: Mapping[str, Array] | None,
        carry: Mapping[str, str],
        *,
        key: str = "",
        deadline: float = 60,  # noqa: ARG002 - as the worker's
    ) -> list[tuple[str, Array]]:
        """Return the outputs of all steps, as ``EngineWorker.sequence``."""
        request = {"carry": dict(carry), "key": key}
        named = self._sequences.run(self._engine, request, {**steps, **(begin or {})})[1]
        if self._behaviour is None:
            return list(named)
        return list(self._behaviour.ended(dict(named)).items())
