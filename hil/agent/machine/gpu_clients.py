"""Read which other processes use the GPU, from NvMap's list (Orin and older) and from NVML.

Processes of this agent, and of other agents from the same archive, are left out.
"""

import os
import re
from typing import Any, Dict, List, Mapping, Optional, Set, Tuple

from .device_memory import COLUMNS, NVMAP, UNITS

PARENT_FIELD, SESSION_FIELD = 1, 3  # of /proc/PID/stat, counted after the name: state, ppid, pgrp, session
LONGEST = 1 << 20


HEADER = ["CLIENT", "PROCESS", "PID", "SIZE"]
TOTAL = "total"
GPU_DEVICES = re.compile(r"/dev/(nvmap|nvgpu/.*|nvhost-gpu|nvhost-[a-z]+-gpu|nvidia[0-9]+)", re.ASCII)


def nvmap_list(text: str) -> Tuple[Optional[List[Dict[str, Any]]], str]:
    """Return ``{"pid", "name", "bytes"}`` of each process in ``iovmm/clients``, or None and why the list is unusable.

    A line is a client, a process name (which may contain blanks), a process id and a size. The sizes of a process's
    lines are added.
    """
    lines = [line.split() for line in text.splitlines() if line.strip()]
    if not lines or lines[0] != HEADER:
        return None, "its header line is unknown"
    clients: Dict[int, Dict[str, Any]] = {}
    for words in lines[1:]:
        if words[0] == TOTAL and len(words) < COLUMNS:
            continue
        size = words[-1].rstrip("BKMG")
        unit = words[-1][len(size) :]
        if len(words) < COLUMNS or not words[-2].isdigit() or not size.isdigit() or unit not in UNITS:
            return None, "one of its lines has an unknown format"
        if int(size):
            pid = int(words[-2])
            client = clients.setdefault(pid, {"pid": pid, "name": " ".join(words[1:-2]), "bytes": 0})
            client["bytes"] += int(size) * UNITS[unit]
    if not clients:
        return None, "every process in it has size 0, as on boards that account GPU memory elsewhere"
    return [clients[pid] for pid in sorted(clients)], ""


class GpuClients:
    """Reads the list of GPU clients; ``archive`` is the agent's own file, by which its processes are recognized."""

    def __init__(self, sys_root: str, proc_root: str, archive: Optional[str]) -> None:
        self._nvmap = os.path.join(sys_root, NVMAP)
        self._proc = proc_root
        self._archive = None if archive is None else os.path.basename(archive)

    def read(
        self, gpu: Any, why: Dict[str, str], privileged: Optional[Mapping[str, Any]] = None
    ) -> Optional[List[Dict[str, Any]]]:
        """Return ``{"pid", "name", "bytes"}`` of each process that uses the GPU and is not the agent's, or None.

        ``gpu`` is the GPU's ``nvml.Nvml`` or None, ``privileged`` what the root helper has read. ``name`` and ``bytes``
        are None if unknown. The result is None, with the reason in ``why["gpu_clients"]``, if no complete list can be
        read.
        """
        clients, reason = self._from_nvmap(privileged)
        by_nvml = gpu.processes() if gpu is not None else None
        if by_nvml is not None:
            if not by_nvml and clients is None:
                reason = "NVML lists no process, and %s" % reason
            else:
                known = {client["pid"] for client in clients or []}
                added = [{"pid": pid, "name": self._name(pid), "bytes": size} for pid, size in sorted(by_nvml.items())]
                clients = (clients or []) + [client for client in added if client["pid"] not in known]
        if clients is not None:
            ours = {client["pid"] for client in clients if self._is_own(client["pid"])}
            if ours or not self._own_process_uses_gpu():
                return [client for client in clients if client["pid"] not in ours]
            reason = "the list lacks our own process, so it may lack others"
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
        clients, reason = nvmap_list(text)
        return clients, reason and "NvMap's list: %s" % reason

    def _own_process_uses_gpu(self) -> bool:
        """Return whether a process of this agent uses the GPU."""
        try:
            pids = [int(name) for name in os.listdir(self._proc) if name.isdigit()]
        except OSError:
            return False
        return any(GPU_DEVICES.fullmatch(path) for pid in pids if self._is_own(pid) for path in self._open_files(pid))

    def _open_files(self, pid: int) -> Set[str]:
        folder = "%s/%d/fd" % (self._proc, pid)
        paths = set()
        try:
            for name in os.listdir(folder):
                paths.add(os.readlink(os.path.join(folder, name)))
        except OSError:
            pass  # the process has ended, or has closed a listed file
        return paths

    def _file(self, pid: int, name: str) -> Optional[bytes]:
        try:
            with open("%s/%d/%s" % (self._proc, pid, name), "rb") as file:
                return file.read(4096)
        except OSError:
            return None

    def _name(self, pid: int) -> Optional[str]:
        comm = self._file(pid, "comm")
        return None if comm is None else comm.decode("utf-8", "replace").strip()

    def _is_own(self, pid: int) -> bool:
        stat = self._file(pid, "stat")
        fields = b"" if stat is None else stat[stat.rfind(b")") + 1 :]
        numbers = fields.split()[: SESSION_FIELD + 1]
        if len(numbers) <= SESSION_FIELD or not all(value.isdigit() for value in numbers[PARENT_FIELD:]):
            return False
        parent, session = int(numbers[PARENT_FIELD]), int(numbers[SESSION_FIELD])
        if os.getpid() in (pid, parent) or (session and session == os.getsid(0)):
            return True
        leader = self._file(session, "cmdline") if session else None
        return bool(self._archive and leader and self._archive.encode() in leader)
