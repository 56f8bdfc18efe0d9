"""Outputs whose shape depends on the data (NonMaxSuppression, NonZero): TensorRT requests their memory."""

from typing import Any, Dict, Optional, Tuple

from ...failure import Failure
from .buffers import GrowingBuffers


class DynamicOutputs:
    """The data-dependent outputs of one context: ``shapes`` by name.

    ``problem`` is the failure if memory ran out during a run, else None.
    """

    def __init__(self, device: GrowingBuffers) -> None:
        self.device = device
        self.shapes: Dict[str, Tuple[int, ...]] = {}
        self.problem: Optional[Failure] = None

    def reallocate(self, name: str, nbytes: int) -> int:
        """Return the address of at least ``nbytes`` for the output; 0 if there is no memory."""
        try:
            return int(self.device.need(name, nbytes).address)
        except Failure as problem:
            self.problem = problem
            return 0

    def clear(self) -> None:
        """Reset the state before a run."""
        self.shapes.clear()
        self.problem = None


def allocator(trt: Any, outputs: DynamicOutputs) -> Any:
    """Return a ``trt.IOutputAllocator`` (from 8.5) that fills ``outputs``; from 10 it is called asynchronously."""

    class Allocator(trt.IOutputAllocator):  # type: ignore[misc, name-defined]  # TensorRT ships no types
        def __init__(self) -> None:
            trt.IOutputAllocator.__init__(self)

        def reallocate_output(self, name: str, memory: int, size: int, alignment: int) -> int:  # noqa: ARG002 - TensorRT's signature
            return outputs.reallocate(name, size)

        def reallocate_output_async(self, name: str, memory: int, size: int, alignment: int, stream: int) -> int:  # noqa: ARG002 - TensorRT's signature
            return outputs.reallocate(name, size)

        def notify_shape(self, name: str, shape: Any) -> None:
            outputs.shapes[name] = tuple(int(dim) for dim in shape)

    return Allocator()
