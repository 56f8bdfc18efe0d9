"""How much memory a process and the machine use, read from /proc; bytes throughout.

The segment shared with the supervisor is left out: it holds our tensors in transit, not the engine.
"""

import os
from typing import Any, Dict, Optional

PAGE = os.sysconf("SC_PAGE_SIZE")


def fields(path: str) -> Dict[str, int]:
    """``Name: 123 kB`` lines of a /proc file, in bytes. Empty where it cannot be read."""
    found: Dict[str, int] = {}
    try:
        with open(path, "rb") as file:
            text = file.read().decode("ascii", "replace")
    except OSError:
        return found
    for line in text.splitlines():
        words = line.split()
        if words[2:] == ["kB"] and words[1].isdigit():
            found[words[0].rstrip(":")] = int(words[1]) * 1024
    return found


def resident(pid: object = "self") -> int:
    """Resident pages of a process, shared ones included; the cheapest reading there is."""
    with open("/proc/%s/statm" % pid, "rb") as file:
        return int(file.read().split()[1]) * PAGE


def shared() -> int:
    """Resident shared memory of this process: our segment (kernel 4.5 and later tell; else 0)."""
    return fields("/proc/self/status").get("RssShmem", 0)


def reset_peak() -> bool:
    """Starts the kernel's high-water mark anew; False where it may not be written.

    Source: Documentation/filesystems/proc.rst, ``/proc/PID/clear_refs``, value 5 (Linux 4.0).
    """
    try:
        with open("/proc/self/clear_refs", "w") as file:
            file.write("5")
    except OSError:
        return False
    return True


def machine() -> Dict[str, Optional[int]]:
    """``total`` and ``available`` memory of the machine; ``available`` as the kernel estimates it (3.14)."""
    found = fields("/proc/meminfo")
    return {"total": found.get("MemTotal"), "available": found.get("MemAvailable")}


class Peak:
    """The most memory this process has had resident, the segment left out.

    ``begin`` is called once the inputs are resident and ``end`` before outputs are copied to the segment,
    so that the shared part is the same throughout and can be taken off exactly.
    """

    def __init__(self) -> None:
        self.highest = 0
        self.is_reset = True

    def begin(self) -> None:
        """A stretch of work starts."""
        self.is_reset = reset_peak() and self.is_reset

    def end(self) -> None:
        """It has ended."""
        status = fields("/proc/self/status")
        self.highest = max(self.highest, status.get("VmHWM", 0) - status.get("RssShmem", 0))


def usage(peak: Peak) -> Dict[str, Any]:
    """This process and the machine now.

    ``rss`` and ``peak_rss`` have ``shared_bytes`` taken off already; ``pss`` is None before Linux 4.14
    (``smaps_rollup``); ``peak_reset`` tells that the high-water mark could be started anew for each run.
    """
    status = fields("/proc/self/status")
    segment = status.get("RssShmem", 0)
    rollup = fields("/proc/self/smaps_rollup")
    rss = status.get("VmRSS", 0) - segment
    system = machine()
    return {
        "rss": rss,
        "peak_rss": max(peak.highest, rss),
        "peak_reset": peak.is_reset,
        "pss": max(0, rollup["Pss"] - rollup.get("Pss_Shmem", segment)) if "Pss" in rollup else None,
        "shared_bytes": segment,
        "system_total": system["total"],
        "system_available": system["available"],
    }
