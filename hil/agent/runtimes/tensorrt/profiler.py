"""Seconds by layer, from TensorRT's own profiler on a context that is never timed."""

from typing import Any, Dict, List, Mapping

from ..interface import Feed, NodeCost


def record(trt: Any, slot: Any, feed: Feed, runs: int) -> Dict[str, float]:
    """Sums of milliseconds by layer over ``runs`` runs of a slot of one's own, after one that warms up."""
    spent: Dict[str, float] = {}

    class Recorder(trt.IProfiler):  # type: ignore[misc, name-defined]  # a class of a module known only at run time
        """Adds up what TensorRT reports."""

        def __init__(self) -> None:
            trt.IProfiler.__init__(self)

        def report_layer_time(self, layer_name: str, ms: float) -> None:
            """TensorRT's own signature."""
            spent[layer_name] = spent.get(layer_name, 0.0) + float(ms)

    recorder = Recorder()
    slot.calls.context.profiler = recorder
    bound = slot.bind(feed)
    try:
        bound.run()
        spent.clear()
        for _ in range(runs):
            bound.run()
        return dict(spent)
    finally:
        bound.close()


def costs(spent: Mapping[str, float], runs: int, types: Mapping[str, str]) -> List[NodeCost]:
    """Mean seconds a run by layer, slowest first; ``types`` by layer name, empty where not told."""
    found = [NodeCost(name, types.get(name, ""), total * 1e-3 / runs) for name, total in spent.items()]
    return sorted(found, key=lambda cost: -cost.seconds)
