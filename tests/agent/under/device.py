"""A runtime with a simulated device, sent in place of ONNX Runtime: slots, device clock, layers, sticky errors.

It computes ``y = 2 x``. A feed that starts with 7 breaks the device, as an illegal memory access of a kernel does.
"""

import time
from typing import Any, Dict, List, Mapping, Optional

from ..failure import ENGINE, Failure
from .interface import Bound, Built, Engine, Feed, NodeCost, Port, Runtime

BREAKS = 7
NAP = 0.002


class Broken(Failure):
    """A sticky error, as ``CudaError`` is."""

    sticky = True


class OnnxRuntime(Runtime):
    """A runtime that accepts any file as an engine."""

    name = "onnxruntime"

    def version(self) -> Optional[str]:
        """Return an invented version."""
        return "0"

    def reason_against(self, precision: str) -> Optional[str]:  # noqa: ARG002 - the base class's signature
        """Return None: every precision is supported."""
        return None

    def build(self, model: str, precision: str, options: Mapping[str, Any], out: str) -> Built:  # noqa: ARG002 - the base class's signature
        """Return the model itself as the engine."""
        return Built(model, "")

    def load(self, path: str, options: Mapping[str, Any]) -> Engine:  # noqa: ARG002 - the base class's signature
        """Return an engine without reading the file."""
        return Doubling(int(options.get("streams", 1)))


class Doubling(Engine):
    """An engine with ``slots`` slots; an inference takes two milliseconds, however many are in flight."""

    inputs = (Port("x", "float32", (None, 4)),)
    outputs = (Port("y", "float32", (None, 4)),)

    def __init__(self, slots: int) -> None:
        self.slots = slots
        self.busy = {}  # type: Dict[int, float]

    def bind(self, feed: Feed, slot: int = 0) -> Bound:
        """Bind a feed. Starting a busy slot raises ``Failure``."""
        x = feed["x"].copy()

        def start() -> None:
            if slot in self.busy:
                raise Failure(ENGINE, "slot %d is busy" % slot)
            self.busy[slot] = time.perf_counter() + NAP

        def finish() -> List[Any]:
            time.sleep(max(0.0, self.busy.pop(slot) - time.perf_counter()))
            if x[0, 0] == BREAKS:
                raise Broken(ENGINE, "CUDA_ERROR_ILLEGAL_ADDRESS (700)", "")
            return [2 * x]

        def run() -> List[Any]:
            start()
            return finish()

        return Bound(run, start, finish, lambda: NAP / 2)

    def layers(self) -> Optional[List[Dict[str, Any]]]:
        """Return one layer with a long name."""
        return [{"name": "double + " * 500, "type": "Scale", "precision": "fp32", "onnx": []}]

    def executed_on(self) -> Optional[Dict[str, Optional[str]]]:
        """Return an invented GPU."""
        return {"kind": "gpu", "name": "Make-believe", "sm": "8.7"}

    def facts(self) -> Dict[str, Any]:
        """Return one fact."""
        return {"io": "named"}

    def profile(self, feed: Feed, runs: int) -> List[NodeCost]:  # noqa: ARG002 - the base class's signature
        """Return one node with a long name."""
        return [NodeCost("double + " * 500, "Scale", 0.001)]
