"""Which workers' memory is watched on which GPU; a target without one loads nothing of NVIDIA's here."""

from typing import Any, Dict, List, Mapping, Optional

from ..machine.device_memory import DeviceMemory, Watch, open_device_memory
from .telemetry import Sampler
from .worker_process import WorkerProcess


class GpuWatches:
    """Opens each GPU's memory once; ``gpus`` is what CUDA said of the visible ones (``probe.gpus``)."""

    def __init__(self) -> None:
        self._opened: Dict[int, DeviceMemory] = {}

    def watch(self, gpus: List[Mapping[str, Any]], number: int) -> Optional[Watch]:
        """A watch of the GPU ``number``, begun now; None where CUDA knows no such GPU."""
        if not 0 <= number < len(gpus):
            return None
        if number not in self._opened:
            self._opened[number] = open_device_memory(gpus[number])
        return Watch(self._opened[number])


def start_sampler(worker: WorkerProcess, watch: Optional[Watch], *, slow: bool = False) -> Optional[Sampler]:
    """Has ``watch`` follow a fresh worker. The sampler that keeps its peak, or None where nothing is watched."""
    if watch is None:
        return None
    watch.start_sampler(worker.pid)
    worker.watch = watch
    return Sampler(worker.pid, watch, slow=slow)


def resume_sampler(worker: WorkerProcess) -> Optional[Sampler]:
    """A sampler for a worker that was followed before, its peak counted from now on. None where nothing is watched."""
    if worker.watch is None:
        return None
    worker.watch.restart()
    return Sampler(worker.pid, worker.watch, slow=True)


def peaks(sampler: Sampler) -> Dict[str, Any]:
    """The highest resident memory and memory on the GPU among the samples, in bytes, and where the latter is from."""
    told = sampler.watch.report() if sampler.watch is not None else {"peak": None, "source": None}
    return {"rss": int(sampler.highest_rss) or None, "device": told["peak"], "source": told["source"]}
