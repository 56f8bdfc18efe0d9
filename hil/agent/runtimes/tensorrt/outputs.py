"""Outputs whose shape only running tells (NonMaxSuppression, NonZero): TensorRT asks us for their memory."""

from typing import Any, Dict, Optional, Tuple

from ...failure import Failure
from .buffers import Grown


class Told:
    """What one context's data-dependent outputs asked for: ``shapes`` by name, ``problem`` if memory ran out."""

    def __init__(self, device: Grown) -> None:
        self.device = device
        self.shapes: Dict[str, Tuple[int, ...]] = {}
        self.problem: Optional[Failure] = None

    def reallocate(self, name: str, nbytes: int) -> int:
        """The address of at least ``nbytes`` for the output; 0 where there are none.

        An exception must not pass through TensorRT's frames: it is kept for after the enqueue.
        """
        try:
            return int(self.device.need(name, nbytes).address)
        except Failure as problem:
            self.problem = problem
            return 0

    def clear(self) -> None:
        """Before a run."""
        self.shapes.clear()
        self.problem = None


def allocator(trt: Any, told: Told) -> Any:
    """A ``trt.IOutputAllocator`` (8.5 and later; the asynchronous spelling is asked from 10 on) that fills ``told``."""

    class Allocator(trt.IOutputAllocator):  # type: ignore[misc, name-defined]  # TensorRT ships no types
        def __init__(self) -> None:
            trt.IOutputAllocator.__init__(self)

        def reallocate_output(self, name: str, memory: int, size: int, alignment: int) -> int:  # noqa: ARG002 - TensorRT's signature
            return told.reallocate(name, size)

        def reallocate_output_async(self, name: str, memory: int, size: int, alignment: int, stream: int) -> int:  # noqa: ARG002 - TensorRT's signature
            return told.reallocate(name, size)

        def notify_shape(self, name: str, shape: Any) -> None:
            told.shapes[name] = tuple(int(dim) for dim in shape)

    return Allocator()
