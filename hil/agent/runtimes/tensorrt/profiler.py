"""Seconds per layer, from TensorRT's own profiler on a context that is never timed."""

from typing import Any, Dict, List, Mapping

from ..interface import Feed, NodeCost


def record(trt: Any, slot: Any, feed: Feed, runs: int) -> Dict[str, float]:
    """Return the total milliseconds per layer over ``runs`` runs of ``slot``, after one warm-up run.

    ``slot`` must be used for nothing else.
    """
    totals: Dict[str, float] = {}

    class Recorder(trt.IProfiler):  # type: ignore[misc, name-defined]  # a class of a module known only at run time
        """Adds up the times that TensorRT reports."""

        def __init__(self) -> None:
            trt.IProfiler.__init__(self)

        def report_layer_time(self, layer_name: str, ms: float) -> None:
            """Add a layer's time; the signature is TensorRT's."""
            totals[layer_name] = totals.get(layer_name, 0.0) + float(ms)

    recorder = Recorder()
    slot.calls.context.profiler = recorder
    bound = slot.bind(feed)
    try:
        bound.run()
        totals.clear()
        for _ in range(runs):
            bound.run()
        return dict(totals)
    finally:
        bound.close()


def costs(totals: Mapping[str, float], runs: int, types: Mapping[str, str]) -> List[NodeCost]:
    """Return the mean seconds per run of each layer, slowest first; ``types`` maps layer names to types."""
    by_layer = [NodeCost(name, types.get(name, ""), total * 1e-3 / runs) for name, total in totals.items()]
    return sorted(by_layer, key=lambda cost: -cost.seconds)
