"""Who else uses the GPU: processes that NvMap (Orin and older) or NVML lists, our own left out.

Our own are the agent's children, those of its session (in the kernel's sense), and those of any other agent of the
same archive: several of them share a target where pytest-xdist runs, and nobody else's can while ours hold it.
Where a session's leader is outside our process namespace its number is 0, everybody's alike: that tells nothing.
"""

import os
import re
from typing import Any, Dict, List, Mapping, Optional, Set, Tuple

from .device_memory import COLUMNS, NVMAP, UNITS

PARENT_FIELD, SESSION_FIELD = 1, 3  # of /proc/PID/stat, counted behind the name: state, ppid, pgrp, session
LONGEST = 1 << 20


HEADING = ["CLIENT", "PROCESS", "PID", "SIZE"]
TOTAL = "total"
GPU_DEVICES = re.compile(r"/dev/(nvmap|nvgpu/.*|nvhost-gpu|nvhost-[a-z]+-gpu|nvidia[0-9]+)", re.ASCII)


def nvmap_list(text: str) -> Tuple[Optional[List[Dict[str, Any]]], str]:
    """``{"pid", "name", "bytes"}`` of each process in ``iovmm/clients``, or None and why that is no list to rely on.

    A line is a client, a process name (blanks and all), an id and a size; a process may have several. A list in which
    nobody holds memory tells nothing: a Thor has all at 0, its memory being elsewhere.
    """
    lines = [line.split() for line in text.splitlines() if line.strip()]
    if not lines or lines[0] != HEADING:
        return None, "it has not the heading that is known"
    found: Dict[int, Dict[str, Any]] = {}
    for words in lines[1:]:
        if words[0] == TOTAL and len(words) < COLUMNS:
            continue
        size = words[-1].rstrip("BKMG")
        unit = words[-1][len(size) :]
        if len(words) < COLUMNS or not words[-2].isdigit() or not size.isdigit() or unit not in UNITS:
            return None, "it has a line that is not understood"
        if int(size):
            pid = int(words[-2])
            one = found.setdefault(pid, {"pid": pid, "name": " ".join(words[1:-2]), "bytes": 0})
            one["bytes"] += int(size) * UNITS[unit]
    if not found:
        return None, "nobody in it holds memory, which a board that keeps it elsewhere says as well"
    return [found[pid] for pid in sorted(found)], ""


class GpuClients:
    """Reads the list; ``archive`` is the agent's own file, by whose name its processes are known."""

    def __init__(self, sys_root: str, proc_root: str, archive: Optional[str]) -> None:
        self._nvmap = os.path.join(sys_root, NVMAP)
        self._proc = proc_root
        self._archive = None if archive is None else os.path.basename(archive)

    def read(
        self, gpu: Any, why: Dict[str, str], privileged: Optional[Mapping[str, Any]] = None
    ) -> Optional[List[Dict[str, Any]]]:
        """Every foreign client; None, with the reason in ``why``, where no list can be read.

        ``bytes`` and ``name`` of one may be None: NVML names nobody, and lists processes of other containers by
        numbers that mean nothing here.
        """
        found, reason = self._from_nvmap(privileged)
        told = gpu.processes() if gpu is not None else None
        if told is not None:
            if not told and found is None:
                reason = "NVML lists nobody, and %s" % reason
            else:
                known = {one["pid"] for one in found or []}
                listed = [{"pid": pid, "name": self._name(pid), "bytes": used} for pid, used in sorted(told.items())]
                found = (found or []) + [one for one in listed if one["pid"] not in known]
        if found is not None:
            ours = {one["pid"] for one in found if self._ours(one["pid"])}
            if ours or not self._at_work():
                return [one for one in found if one["pid"] not in ours]
            reason = "the list lacks our own process, so that it may lack others"
        why["gpu_clients"] = reason
        return None

    def _from_nvmap(self, privileged: Optional[Mapping[str, Any]]) -> Tuple[Optional[List[Dict[str, Any]]], str]:
        text = (privileged or {}).get("nvmap")
        if not isinstance(text, str):
            try:
                with open(self._nvmap, "rb") as file:
                    text = file.read(LONGEST).decode("utf-8", "replace")
            except OSError as error:
                return None, "NvMap's list: %s" % (error.strerror or error)
        found, reason = nvmap_list(text)
        return found, reason and "NvMap's list: %s" % reason

    def _at_work(self) -> bool:
        """Whether a process of ours has the GPU open."""
        try:
            pids = [int(name) for name in os.listdir(self._proc) if name.isdigit()]
        except OSError:
            return False
        return any(GPU_DEVICES.fullmatch(path) for pid in pids if self._ours(pid) for path in self._opened(pid))

    def _opened(self, pid: int) -> Set[str]:
        folder = "%s/%d/fd" % (self._proc, pid)
        found = set()
        try:
            for name in os.listdir(folder):
                found.add(os.readlink(os.path.join(folder, name)))
        except OSError:
            pass  # it has ended, or closed what was just listed
        return found

    def _file(self, pid: int, name: str) -> Optional[bytes]:
        try:
            with open("%s/%d/%s" % (self._proc, pid, name), "rb") as file:
                return file.read(4096)
        except OSError:
            return None

    def _name(self, pid: int) -> Optional[str]:
        said = self._file(pid, "comm")
        return None if said is None else said.decode("utf-8", "replace").strip()

    def _ours(self, pid: int) -> bool:
        stat = self._file(pid, "stat")
        fields = b"" if stat is None else stat[stat.rfind(b")") + 1 :]
        words = fields.split()[: SESSION_FIELD + 1]
        if len(words) <= SESSION_FIELD or not all(word.isdigit() for word in words[PARENT_FIELD:]):
            return False
        parent, session = int(words[PARENT_FIELD]), int(words[SESSION_FIELD])
        if os.getpid() in (pid, parent) or (session and session == os.getsid(0)):
            return True
        leader = self._file(session, "cmdline") if session else None
        return bool(self._archive and leader and self._archive.encode() in leader)
