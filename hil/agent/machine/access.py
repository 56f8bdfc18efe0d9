"""Determine what the kernel allows this process: its groups, access to the GPU's device nodes, its container."""

import glob
import grp
import os
import stat
from typing import Any, Dict, List, Optional

from .reader import NotReadable, Reader

DEVICES = ("nvhost-gpu", "nvhost-ctrl-gpu", "nvhost-as-gpu", "nvmap", "nvgpu/*/*", "nvidia[0-9c]*", "dri/renderD*")
CONTAINERS = ("docker", "libpod", "kubepods", "containerd", "lxc")
MOST_DEVICES = 64


def groups(reader: Reader) -> List[Dict[str, Any]]:
    """Return ``number`` and ``name`` of each group of this process."""
    numbers = sorted({os.getegid(), *os.getgroups()})
    return [{"number": number, "name": group_name(reader, number)} for number in numbers]


def group_name(reader: Reader, number: int) -> Optional[str]:
    """Return the group's name from /etc/group, or from the system's other sources; None if it has none."""
    try:
        for line in reader.text("etc/group").splitlines():
            name, _, rest = line.partition(":")
            if rest.split(":")[1:2] == [str(number)]:
                return name
        return grp.getgrgid(number).gr_name
    except (NotReadable, KeyError, OverflowError):
        return None


def devices(reader: Reader) -> List[Dict[str, Any]]:
    """Return the GPU's device nodes: ``path``, ``group`` (its ``number`` and ``name``) and ``usable``.

    ``usable`` is whether this process may read and write the node. At most ``MOST_DEVICES`` paths are examined.
    """
    paths = sorted({path for pattern in DEVICES for path in glob.glob(os.path.join(reader.root, "dev", pattern))})
    nodes = []
    for path in paths[:MOST_DEVICES]:
        status = os.stat(path)
        if stat.S_ISDIR(status.st_mode):
            continue
        name = "/" + os.path.relpath(path, reader.root)
        usable = os.access(path, os.R_OK | os.W_OK)
        group = {"number": status.st_gid, "name": group_name(reader, status.st_gid)}
        nodes.append({"path": name, "group": group, "usable": usable})
    return nodes


def container(reader: Reader) -> str:
    """Return ``"docker"``, ``"podman"`` or an entry of ``CONTAINERS``; ``"none"`` outside of a container.

    Raise ``NotReadable`` if this cannot be determined.
    """
    if os.path.exists(reader.path(".dockerenv")):
        return "docker"
    if os.path.exists(reader.path("run/.containerenv")):
        return "podman"
    cgroup = reader.text("proc/1/cgroup")
    engine = next((engine for engine in CONTAINERS if engine in cgroup), None)
    if engine is None and "/init.scope" not in cgroup:
        # A container with cgroups of its own looks like a system without systemd.
        raise NotReadable("/proc/1/cgroup names neither a container nor systemd")
    return engine or "none"
