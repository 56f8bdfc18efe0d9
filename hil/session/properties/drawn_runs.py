"""Run drawn batches on engine and reference: one inference each or, for a model with a state, short sequences."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hil.onnx_files.host_run import run_on_host
from hil.onnx_files.host_sequence import run_sequence

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from hil.checks.blocks import Outputs
    from hil.datasets.sequence import Sequence
    from hil.session.properties.drawing import Drawn, Feeds, Space
    from hil.targets.engine_worker import EngineWorker


class DrawnBatches:
    """Runs each drawn batch in one inference."""

    def __init__(self, space: Space, host: Callable[[], Any]) -> None:
        """Create the runs; ``host`` returns the reference's session."""
        self.space, self._host = space, host
        self._names = [output.name for output in space.signature.outputs]

    def inputs(self, drawn: Drawn) -> Any:
        """Return the drawn batch in the form that ``run`` and ``reference`` accept."""
        return drawn.feeds(self.space)

    def run(self, worker: EngineWorker, inputs: Any) -> Outputs:
        """Return the engine's outputs."""
        return worker.run(inputs)

    def run_as(self, worker: EngineWorker, inputs: Any, reference: Outputs) -> Outputs:  # noqa: ARG002 - sequences need it
        """Return the engine's outputs to compare with those of the reference; without a state, those of ``run``."""
        return self.run(worker, inputs)

    def reference(self, inputs: Any) -> Outputs | None:
        """Return the reference's outputs; ``None`` if the reference refuses the inputs."""
        host = self._host()
        try:
            return self._made(host, inputs)
        except Exception:  # noqa: BLE001 - ONNX Runtime's errors share only the class Exception
            return None

    def _made(self, host: Any, inputs: Any) -> Outputs:
        return list(zip(self._names, run_on_host(host, self._names, inputs), strict=True))

    def calls(self, outputs: Outputs) -> Iterator[tuple[str, Outputs]]:
        """Yield, for each inference, the text that names it in messages (may be empty) and its outputs."""
        yield "", outputs

    def of_one_call(self, inputs: Any) -> Feeds:
        """Return the inputs of the first inference."""
        feeds: Feeds = inputs
        return feeds

    def of_call(self, inputs: Any, reference: Outputs, number: int) -> Feeds:  # noqa: ARG002 - sequences need them
        """Return the inputs of the inference ``number``; of a model with a state, with the reference's state."""
        return self.of_one_call(inputs)

    def saved(self, drawn: Drawn) -> Feeds:
        """Return the inputs in the form of a model's data."""
        return drawn.feeds(self.space)


class DrawnSequences(DrawnBatches):
    """Runs each drawn batch as sequences whose states begin as zeros."""

    def inputs(self, drawn: Drawn) -> Any:
        """Return the sequences of a batch."""
        return drawn.sequence(self.space)

    def run(self, worker: EngineWorker, inputs: Sequence) -> Outputs:
        """Return the outputs of all steps, each fed with the engine's own state."""
        return worker.sequence(inputs.steps, inputs.begin, inputs.carry, key="drawn")

    def run_as(self, worker: EngineWorker, inputs: Sequence, reference: Outputs) -> Outputs:
        """Return the outputs of all steps, each fed with the reference's state."""
        return worker.sequence({**inputs.steps, **inputs.states(dict(reference))}, {}, {})

    def _made(self, host: Any, inputs: Sequence) -> Outputs:
        return list(run_sequence(host, self._names, inputs).items())

    def calls(self, outputs: Outputs) -> Iterator[tuple[str, Outputs]]:
        """Yield, for each step, the text that names it in messages and its outputs."""
        for step in range(min((len(array) for _, array in outputs), default=0)):
            yield f"in step {step}: ", [(name, array[step]) for name, array in outputs]

    def of_one_call(self, inputs: Sequence) -> Feeds:
        """Return the inputs of the first step."""
        return {**inputs.step(0), **inputs.begin}

    def of_call(self, inputs: Sequence, reference: Outputs, number: int) -> Feeds:
        """Return the inputs of a step, with the reference's state before it."""
        states = {name: array[number] for name, array in inputs.states(dict(reference)).items()}
        return {**inputs.step(number), **states}

    def saved(self, drawn: Drawn) -> Feeds:
        """Return the inputs of all steps, [sequences, steps, …]."""
        return drawn.arrays(self.space)
