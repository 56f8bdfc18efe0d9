"""Read the memory of a process and of the machine from /proc, in bytes.

The segment shared with the supervisor is excluded.
"""

import ctypes
import os
from typing import Any, Dict, Optional

PAGE = os.sysconf("SC_PAGE_SIZE")
PR_SET_THP_DISABLE = 41


def fields(path: str) -> Dict[str, int]:
    """Return the sizes in the ``Name: 123 kB`` lines of a /proc file, in bytes; empty if it cannot be read."""
    sizes: Dict[str, int] = {}
    try:
        with open(path, "rb") as file:
            text = file.read().decode("ascii", "replace")
    except OSError:
        return sizes
    for line in text.splitlines():
        words = line.split()
        if words[2:] == ["kB"] and words[1].isdigit():
            sizes[words[0].rstrip(":")] = int(words[1]) * 1024
    return sizes


def resident(pid: object = "self") -> int:
    """Return the resident bytes of process ``pid``, shared pages included.

    Raise ``OSError`` if there is no such process.
    """
    with open("/proc/%s/statm" % pid, "rb") as file:
        return int(file.read().split()[1]) * PAGE


def shared() -> int:
    """Return the resident shared memory of this process, which is the segment; 0 before kernel 4.5."""
    return fields("/proc/self/status").get("RssShmem", 0)


def return_free_memory() -> bool:
    """Return freed memory to the system, and use small pages from now on, so that a leak shows in the resident bytes.

    Return whether small pages are used; False without glibc, where nothing is done. Sources: malloc_trim(3), all arenas
    since glibc 2.8; prctl(2), PR_SET_THP_DISABLE (Linux 3.15).
    """
    try:
        library = ctypes.CDLL(None)
        trim, prctl = library.malloc_trim, library.prctl
    except (OSError, AttributeError):
        return False
    prctl.argtypes = [ctypes.c_int] + [ctypes.c_ulong] * 4
    trim.argtypes = [ctypes.c_size_t]
    small = prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0) == 0
    trim(0)
    return bool(small)


def reset_peak() -> bool:
    """Reset the kernel's peak of this process's resident memory (VmHWM); return False if the kernel refuses.

    Source: Documentation/filesystems/proc.rst, ``/proc/PID/clear_refs``, value 5 (Linux 4.0).
    """
    try:
        with open("/proc/self/clear_refs", "w") as file:
            file.write("5")
    except OSError:
        return False
    return True


def machine() -> Dict[str, Optional[int]]:
    """Return ``total`` and ``available`` bytes of the machine; None if unknown.

    ``available`` is the kernel's estimate (MemAvailable, since Linux 3.14).
    """
    meminfo = fields("/proc/meminfo")
    return {"total": meminfo.get("MemTotal"), "available": meminfo.get("MemAvailable")}


class Peak:
    """The peak of this process's resident memory, without the segment.

    Call ``begin`` once the inputs are resident, and ``end`` before outputs are copied to the segment. ``highest`` is
    the peak in bytes; ``is_reset`` is false once the kernel's peak could not be reset.
    """

    def __init__(self) -> None:
        self.highest = 0
        self.is_reset = True

    def begin(self) -> None:
        """Reset the kernel's peak before a piece of work."""
        self.is_reset = reset_peak() and self.is_reset

    def end(self) -> None:
        """Raise ``highest`` to the kernel's peak since ``begin``, if that is higher."""
        status = fields("/proc/self/status")
        self.highest = max(self.highest, status.get("VmHWM", 0) - status.get("RssShmem", 0))


def usage(peak: Peak) -> Dict[str, Any]:
    """Return the memory of this process and of the machine now, in bytes.

    ``rss``, ``peak_rss`` and ``pss`` exclude ``shared_bytes``, the segment. ``pss`` is None before Linux 4.14.
    ``peak_reset`` is false if the kernel's peak could not be reset.
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
