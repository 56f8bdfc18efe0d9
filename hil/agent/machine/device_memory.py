"""Read the GPU memory of a process from outside, in bytes.

What cannot be read is None, never 0.

Discrete GPUs and Thor list processes through NVML, Orin and older boards in NvMap's file in debugfs. For an unlisted
process, the growth of the whole GPU's or machine's used memory is read instead.
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
    """Return bytes by process id from ``iovmm/clients``: lines of client, process name, id and size (``14617792K``).

    The sizes of a process's clients are added. Processes of size 0 are left out.
    """
    used: Dict[int, int] = {}
    for line in text.splitlines():
        words = line.split()
        pid_text, last = words[-2:] if words[COLUMNS - 1 :] else ("", "")
        size = last.rstrip("BKMG")
        unit = last[len(size) :]
        if pid_text.isdigit() and size.isdigit() and unit in UNITS and int(size):
            pid = int(pid_text)
            used[pid] = used.get(pid, 0) + int(size) * UNITS[unit]
    return used


class DeviceMemory:
    """The memory of one GPU; ``unified`` states whether the GPU shares the machine's memory."""

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
        self._is_open = False

    def _by_nvml(self) -> Mapping[int, Optional[int]]:
        return (self.gpu.processes() if self.gpu is not None else None) or {}

    def _by_nvmap(self) -> Mapping[int, Optional[int]]:
        try:
            with open(self._clients, "rb") as file:
                return nvmap_clients(file.read(1 << 20).decode("utf-8", "replace"))
        except OSError:
            return {}

    def _by_helper(self) -> Mapping[int, Optional[int]]:
        if not self._is_open:
            self._is_open = True
            self._helper = None if os.access(self._clients, os.R_OK) else self._open_helper()
        answer = self._helper.ask("nvmap") if self._helper is not None else {}
        if not answer.get("ok") and self._helper is not None:
            self._helper.close()  # the board has no NvMap, or the helper has ended: neither changes later
            self._helper = None
        return nvmap_clients(str(answer.get("text", "")))

    @property
    def source(self) -> str:
        """Label of the best source: the first list with a process's memory, else the whole GPU or machine."""
        return next((label for label, read in self.readers if any(read().values())), self.whole)

    def process(self, pid: int) -> Optional[int]:
        """Return the bytes of process ``pid`` on the GPU; None if no list has them."""
        return next((value for value in (read().get(pid) for _, read in self.readers) if value), None)

    def system(self) -> Tuple[Optional[int], Optional[int]]:
        """Return used and total bytes of the GPU, or of the machine if they share memory; each None if unknown."""
        if not self.unified:
            return (self.gpu.memory() if self.gpu is not None else None) or (None, None)
        meminfo = process_memory.fields(self._meminfo)
        total, available = meminfo.get("MemTotal"), meminfo.get("MemAvailable")
        return None if total is None or available is None else total - available, total


def open_device_memory(
    device: Mapping[str, Any], sys_root: str = "/sys", proc_root: str = "/proc", library: str = nvml.LIBRARY
) -> DeviceMemory:
    """Return the memory of one GPU. ``device`` is CUDA's description: ``number``, ``uuid``, ``pci``, ``integrated``."""
    gpu = nvml.open_nvml(device, library)
    unified = bool(device["integrated"])
    # The helper reads this machine's own list, so it is not used for another ``sys_root``.
    open_helper: Callable[[], Optional[Helper]] = Helper.open if sys_root == "/sys" else lambda: None
    opened = DeviceMemory(gpu, unified=unified, sys_root=sys_root, proc_root=proc_root, open_helper=open_helper)
    opened.facts = device
    return opened


class Watch:
    """Measures the GPU memory of one worker; create it before the worker starts.

    Call ``follow`` before the worker uses CUDA, ``baseline`` once its context exists, and ``note`` while it works.
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
        """Follow process ``pid``, which has no memory on the GPU yet.

        A list that already contains ``pid`` is not used, since its entry is another process's.
        """
        self._pid = pid
        self._readers = [(label, read) for label, read in self.device.readers if pid not in read()]

    def restart(self) -> None:
        """Reset the peaks. Growth is still measured from the time before the worker's start."""
        self._peaks.clear()

    def baseline(self) -> None:
        """Record the memory of the worker's context and runtime before an engine is loaded.

        Later readings use only the source of this reading.
        """
        self._baseline = self.note()
        if self._settled is None:
            self._settled = self.device.whole
            self._baseline = self.note()

    @property
    def by_process(self) -> bool:
        """Whether the source reports this worker's memory alone, without that of other users of the GPU."""
        return self._settled in (BY_NVML, BY_NVMAP, BY_HELPER)

    def note(self) -> Optional[int]:
        """Read the worker's memory, raise the peak if necessary, and return the bytes; None if they cannot be read."""
        self._now = None
        for label, read in self._readers:
            if self._settled in (None, label):
                value = read().get(self._pid)
                if value:
                    self._settled = label
                    return self._with_peak(label, value)
        if self._settled in (None, self.device.whole):
            used = self.device.system()[0]
            if used is not None and self._before is not None and used > self._before:
                return self._with_peak(self.device.whole, used - self._before)
        return None

    def _with_peak(self, label: str, value: int) -> int:
        self._now = value
        self._peaks[label] = max(value, self._peaks.get(label, 0))
        return value

    def report(self) -> Dict[str, Any]:
        """Read the memory once more, and return the fields of the host's ``DeviceUse``; an unreadable figure is None.

        ``includes_host`` is whether the figures include the worker's resident memory on the host.
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
