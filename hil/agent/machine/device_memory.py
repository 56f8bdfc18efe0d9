"""Memory of a process on its GPU, read from outside; bytes throughout, None where it cannot be read, never 0.

A discrete GPU and Thor tell it through NVML, Orin and older boards through NvMap's list in debugfs, which
only root may read: itself, or through the board's root helper (``helper.py``) where that is installed.
Where neither knows the process (a container hides it, the user may not look), what is left is the difference
that the worker makes to the whole GPU or machine, and the source says so.
"""

import os
from typing import Any, Callable, Dict, List, Mapping, Optional, Tuple

from . import nvml, process_memory
from .root_helper import Helper

NVMAP = "kernel/debug/nvmap/iovmm/clients"
COLUMNS = 4
UNITS = {"": 1, "B": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30}

BY_NVML = "NVML, by process"
BY_NVMAP = "NvMap, by process"
BY_HELPER = "NvMap through the root helper, by process"
BY_GPU = "whole GPU, less what was in use before the worker"
BY_MACHINE = "MemAvailable, less what was available before the worker"


def nvmap_clients(text: str) -> Dict[int, int]:
    """Bytes by process id from ``iovmm/clients``: lines of client, process name, id and size (``14617792K``).

    A name may have blanks in it and a process several clients; a size of 0 (Thor lists it so, having its
    memory elsewhere) is no reading and left out.
    """
    found: Dict[int, int] = {}
    for line in text.splitlines():
        words = line.split()
        pid_text, last = words[-2:] if words[COLUMNS - 1 :] else ("", "")
        size = last.rstrip("BKMG")
        unit = last[len(size) :]
        if pid_text.isdigit() and size.isdigit() and unit in UNITS and int(size):
            pid = int(pid_text)
            found[pid] = found.get(pid, 0) + int(size) * UNITS[unit]
    return found


class DeviceMemory:
    """One GPU's memory; ``unified`` tells that it is the machine's own."""

    def __init__(
        self,
        gpu: Optional[nvml.Nvml],
        *,
        unified: bool,
        sys_root: str,
        proc_root: str,
        open_helper: Callable[[], Optional[Helper]] = Helper.open,
    ) -> None:
        self.gpu = gpu
        self.unified = unified
        self.facts: Mapping[str, Any] = {}
        self.whole = BY_MACHINE if unified else BY_GPU
        self._clients = os.path.join(sys_root, NVMAP)
        self._meminfo = os.path.join(proc_root, "meminfo")
        self.readers: List[Tuple[str, Callable[[], Mapping[int, Optional[int]]]]] = [(BY_NVML, self._by_nvml)]
        if unified:
            self.readers += [(BY_NVMAP, self._by_nvmap), (BY_HELPER, self._by_helper)]
        self._open_helper = open_helper
        self._helper: Optional[Helper] = None
        self._asked = False

    def _by_nvml(self) -> Mapping[int, Optional[int]]:
        return (self.gpu.processes() if self.gpu is not None else None) or {}

    def _by_nvmap(self) -> Mapping[int, Optional[int]]:
        try:
            with open(self._clients, "rb") as file:
                return nvmap_clients(file.read(1 << 20).decode("utf-8", "replace"))
        except OSError:
            return {}

    def _by_helper(self) -> Mapping[int, Optional[int]]:
        if not self._asked:
            self._asked = True
            self._helper = None if os.access(self._clients, os.R_OK) else self._open_helper()
        told = self._helper.ask("nvmap") if self._helper is not None else {}
        if not told.get("ok") and self._helper is not None:
            self._helper.close()  # a board without NvMap, or a helper that is gone: neither comes back
            self._helper = None
        return nvmap_clients(str(told.get("text", "")))

    @property
    def source(self) -> str:
        """The best there is: the first list that has any process, else the difference to the whole."""
        return next((label for label, read in self.readers if any(read().values())), self.whole)

    def process(self, pid: int) -> Optional[int]:
        """What the process has on the GPU; None where no list has it."""
        return next((value for value in (read().get(pid) for _, read in self.readers) if value), None)

    def system(self) -> Tuple[Optional[int], Optional[int]]:
        """Used and total bytes: of the GPU, or of the machine where they share them."""
        if not self.unified:
            return (self.gpu.memory() if self.gpu is not None else None) or (None, None)
        found = process_memory.fields(self._meminfo)
        total, available = found.get("MemTotal"), found.get("MemAvailable")
        return None if total is None or available is None else total - available, total


def open_device_memory(
    device: Mapping[str, Any], sys_root: str = "/sys", proc_root: str = "/proc", library: str = nvml.LIBRARY
) -> DeviceMemory:
    """The memory of the GPU that CUDA describes as ``device`` (``number``, ``uuid``, ``pci``, ``integrated``)."""
    gpu = nvml.open_nvml(device, library)
    unified = bool(device["integrated"])
    # The helper knows this machine's list alone: for another tree it would tell of something else.
    ours: Callable[[], Optional[Helper]] = Helper.open if sys_root == "/sys" else lambda: None
    opened = DeviceMemory(gpu, unified=unified, sys_root=sys_root, proc_root=proc_root, open_helper=ours)
    opened.facts = device
    return opened


class Watch:
    """One worker's memory on its GPU, from before it began; made before the worker is started.

    ``follow`` it before it touches CUDA, read the ``baseline`` once its context is there, ``note`` while it works.
    """

    def __init__(self, device: DeviceMemory) -> None:
        self.device = device
        self._before = device.system()[0]
        self._pid = 0
        self._readers: List[Tuple[str, Callable[[], Mapping[int, Optional[int]]]]] = []
        self._settled: Optional[str] = None
        self._baseline: Optional[int] = None
        self._peaks: Dict[str, int] = {}
        self._now: Optional[int] = None

    def follow(self, pid: int) -> None:
        """The worker is process ``pid``, which has nothing on the GPU yet.

        Whoever has that number in a list already is another process: the list counts processes as the
        host does, and we are in a container.
        """
        self._pid = pid
        self._readers = [(label, read) for label, read in self.device.readers if pid not in read()]

    def restart(self) -> None:
        """Forgets the peaks: what the worker has on the GPU is still counted from before it began."""
        self._peaks.clear()

    def baseline(self) -> None:
        """The worker's context and runtime are there, the engine is not; from here on the source is fixed."""
        self._baseline = self.note()
        if self._settled is None:
            self._settled = self.device.whole
            self._baseline = self.note()

    @property
    def by_process(self) -> bool:
        """Whether the source tells this worker's memory alone, whatever else uses the GPU."""
        return self._settled in (BY_NVML, BY_NVMAP, BY_HELPER)

    def note(self) -> Optional[int]:
        """Reads it now and keeps the peak. None where it cannot be read."""
        self._now = None
        for label, read in self._readers:
            if self._settled in (None, label):
                value = read().get(self._pid)
                if value:
                    self._settled = label
                    return self._kept(label, value)
        if self._settled in (None, self.device.whole):
            used = self.device.system()[0]
            if used is not None and self._before is not None and used > self._before:
                return self._kept(self.device.whole, used - self._before)
        return None

    def _kept(self, label: str, value: int) -> int:
        self._now = value
        self._peaks[label] = max(value, self._peaks.get(label, 0))
        return value

    def report(self) -> Dict[str, Any]:
        """What the host calls ``DeviceUse``; of the numbers, those that cannot be read are None.

        ``includes_host`` tells that the worker's own resident memory is in the numbers already.
        """
        self.note()
        source = self._settled or self.device.whole
        used, total = self.device.system()
        return {
            "source": source,
            "unified": self.device.unified,
            "includes_host": source == BY_MACHINE,
            "baseline": self._baseline,
            "peak": self._peaks.get(source),
            "now": self._now,
            "system_used": used,
            "system_total": total,
        }
