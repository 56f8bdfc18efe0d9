"""Watch the memory of workers on their GPUs. On a target without a GPU no NVIDIA library is loaded."""

from typing import Any, Dict, List, Mapping, Optional

from ..machine.device_memory import DeviceMemory, Watch, open_device_memory
from .telemetry import Sampler
from .worker_process import WorkerProcess


class GpuWatches:
    """Creates watches of GPU memory; the interface to each GPU's memory is opened once and reused."""

    def __init__(self) -> None:
        self._opened: Dict[int, DeviceMemory] = {}

    def watch(self, gpus: List[Mapping[str, Any]], number: int) -> Optional[Watch]:
        """Return a new watch of GPU ``number``, or None if ``gpus`` (from ``probe.gpus``) has no such GPU."""
        if not 0 <= number < len(gpus):
            return None
        if number not in self._opened:
            self._opened[number] = open_device_memory(gpus[number])
        return Watch(self._opened[number])


def start_sampler(worker: WorkerProcess, watch: Optional[Watch], *, slow: bool = False) -> Optional[Sampler]:
    """Make ``watch`` follow a fresh worker, and return a sampler of that worker; None if ``watch`` is None."""
    if watch is None:
        return None
    watch.follow(worker.pid)
    worker.watch = watch
    return Sampler(worker.pid, watch, slow=slow)


def resume_sampler(worker: WorkerProcess) -> Optional[Sampler]:
    """Reset the peak of the worker's watch, and return a sampler of the worker; None if the worker has no watch."""
    if worker.watch is None:
        return None
    worker.watch.restart()
    return Sampler(worker.pid, worker.watch, slow=True)


def peaks(sampler: Sampler) -> Dict[str, Any]:
    """Return the highest sampled memory in bytes: ``rss`` on the host, ``device`` on the GPU, each None if unknown.

    ``source`` is what the GPU's figure was read from.
    """
    usage = sampler.watch.report() if sampler.watch is not None else {"peak": None, "source": None}
    return {"rss": int(sampler.highest_rss) or None, "device": usage["peak"], "source": usage["source"]}
