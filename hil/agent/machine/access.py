"""Who this process is to the kernel: its groups, the GPU's device nodes that it may use, the container it is in."""

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
    """The groups of this very process, which are not those of ``root``'s user until he has logged in anew."""
    numbers = sorted({os.getegid(), *os.getgroups()})
    return [{"number": number, "name": group_name(reader, number)} for number in numbers]


def group_name(reader: Reader, number: int) -> Optional[str]:
    """The group's name in /etc/group, else by whatever else the system asks; None if it has none."""
    try:
        for line in reader.text("etc/group").splitlines():
            name, _, rest = line.partition(":")
            if rest.split(":")[1:2] == [str(number)]:
                return name
        return grp.getgrgid(number).gr_name
    except (NotReadable, KeyError, OverflowError):
        return None


def devices(reader: Reader) -> List[Dict[str, Any]]:
    """The GPU's device nodes: path, group, and whether this process may read and write each."""
    paths = sorted({path for pattern in DEVICES for path in glob.glob(os.path.join(reader.root, "dev", pattern))})
    found = []
    for path in paths[:MOST_DEVICES]:
        status = os.stat(path)
        if stat.S_ISDIR(status.st_mode):
            continue
        name = "/" + os.path.relpath(path, reader.root)
        usable = os.access(path, os.R_OK | os.W_OK)
        group = {"number": status.st_gid, "name": group_name(reader, status.st_gid)}
        found.append({"path": name, "group": group, "usable": usable})
    return found


def container(reader: Reader) -> str:
    """``"docker"``, ``"podman"``, …; ``"none"`` outside of any."""
    if os.path.exists(reader.path(".dockerenv")):
        return "docker"
    if os.path.exists(reader.path("run/.containerenv")):
        return "podman"
    groups = reader.text("proc/1/cgroup")
    word = next((word for word in CONTAINERS if word in groups), None)
    if word is None and "/init.scope" not in groups:
        # A container with cgroups of its own looks like a system without systemd.
        raise NotReadable("/proc/1/cgroup tells neither a container nor systemd")
    return word or "none"
