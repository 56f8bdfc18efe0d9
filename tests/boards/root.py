"""A board's root: an overlay of this machine's root with a Jetson's files, without this machine's users and data."""

from __future__ import annotations

import os
import shutil
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.boards import accounts, kernel, sysfs, system

PLACE = "/srv"
"""The folder where the root is created. It exists on every Linux, and is covered in the keeper's namespace only."""
OWN = {"bin", "etc", "lib", "lib32", "lib64", "libx32", "sbin", "usr", "var"}
"""Top-level folders of this machine that a board shares."""
FOREIGN = ("var/tmp", "var/log", "var/lib/containers", "var/mail", "etc/ssh", "etc/sudoers.d")
"""Subfolders of ``OWN`` that a board does not share."""
_NODES = ("null", "zero", "full", "random", "urandom", "tty")


@dataclass
class Settings:
    """The settings of a board, sent to the keeper as JSON."""

    facts: dict[str, Any]
    prefix: str
    """The interpreter's folder, mounted at ``/opt/pyX.Y``; empty for this machine's interpreter."""
    site: str
    """The folder of the interpreter's packages, mounted as the user's site-packages."""
    public_key: str
    host_key: str
    sshd: list[str]
    meminfo: int = -1


def make(settings: Settings) -> None:
    """Create the root and make it the root of this namespace."""
    kernel.mount("none", "/", "", kernel.RECURSIVE | kernel.PRIVATE)
    kernel.mount("tmpfs", PLACE, "tmpfs", 0, "mode=755,size=6g")
    top = Path(PLACE)
    for name in ("upper", "work", "root", "site", "site-work"):
        (top / name).mkdir()
    others = [place.name for place in Path("/").iterdir() if place.name not in OWN]
    for name in (*others, *FOREIGN):
        _hide(top / "upper", name)
    layers = f"lowerdir=/,upperdir={top / 'upper'},workdir={top / 'work'}"
    root = top / "root"
    kernel.mount("overlay", str(root), "overlay", 0, layers)
    for name in others:
        if not (root / name).is_dir():
            (root / name).unlink()
    _folders(root)
    _devices(root, settings.facts["nodes"])
    kernel.mount("tmpfs", str(root / "sys"), "tmpfs", 0, "mode=755")
    sysfs.make(root / "sys", settings.facts)
    _controllers(root / "sys")
    system.make(root, settings.facts)
    accounts.make(root, settings)
    _interpreter(top, root, settings)
    kernel.new_root(str(root))


def _hide(upper: Path, name: str) -> None:
    """Cover a folder with an empty, opaque one."""
    if not Path("/", name).is_dir():
        return
    place = upper / name
    place.mkdir(parents=True)
    shutil.copymode(Path("/", name), place)
    for parent in (*place.parents, place):
        if parent.is_relative_to(upper) and parent != upper:
            parent.chmod(Path("/", parent.relative_to(upper)).stat().st_mode & 0o7777)
    os.setxattr(place, "trusted.overlay.opaque", b"y")


def _folders(root: Path) -> None:
    for name in ("proc", "sys", "dev", "run", "tmp", "opt", "usr/local/lib/board"):
        (root / name).mkdir(parents=True, exist_ok=True)


def _devices(root: Path, gpu: list[str]) -> None:
    """Create the basic device nodes, and the GPU's nodes, which behave like ``/dev/null``."""
    kernel.mount("tmpfs", str(root / "dev"), "tmpfs", 0, "mode=755")
    for name in _NODES:
        info = Path("/dev", name).stat()
        node = root / "dev" / name
        os.mknod(node, stat.S_IFCHR | 0o666, info.st_rdev)
        node.chmod(0o666)
    video = next(line for line in (root / "etc/group").read_text(encoding="utf-8").splitlines() if line[:6] == "video:")
    for name in gpu:
        os.mknod(root / "dev" / name, stat.S_IFCHR, os.makedev(1, 3))
        os.chown(root / "dev" / name, 0, int(video.split(":")[2]))
        (root / "dev" / name).chmod(0o660)
    for name, target in (("fd", "/proc/self/fd"), ("stdin", "fd/0"), ("stdout", "fd/1"), ("stderr", "fd/2")):
        (root / "dev" / name).symlink_to(target)
    (root / "dev" / "ptmx").symlink_to("pts/ptmx")
    (root / "dev" / "pts").mkdir()
    (root / "dev" / "shm").mkdir()
    kernel.mount("devpts", str(root / "dev/pts"), "devpts", 0, "newinstance,ptmxmode=0666,mode=620")
    kernel.mount("tmpfs", str(root / "dev/shm"), "tmpfs", 0, "mode=1777")


def _controllers(sys: Path) -> None:
    """Mount this machine's control groups read-only."""
    if Path("/sys/fs/cgroup").is_dir():
        (sys / "fs/cgroup").mkdir(parents=True)
        kernel.bind("/sys/fs/cgroup", str(sys / "fs/cgroup"), read_only=True)


def _interpreter(top: Path, root: Path, settings: Settings) -> None:
    """Install the generation's interpreter as ``/usr/bin/python3``; the user owns its packages."""
    version = settings.facts["python"]
    program = Path("/usr/bin") / f"python{version}"
    if settings.prefix:
        own = Path("/opt") / f"py{version}"
        (root / own.relative_to("/")).mkdir(parents=True)
        kernel.bind(settings.prefix, str(root / own.relative_to("/")), read_only=True)
        # The interpreter looks for its shared library at the original path, which the board does not have.
        for library in Path(settings.prefix, "lib").glob("libpython*.so.*"):
            _link(root / "usr/lib" / library.name, own / "lib" / library.name)
        _link(root / program.relative_to("/"), own / "bin" / f"python{version}")
    _link(root / "usr/bin/python3", program)
    site = root / "home/hil/.local/lib" / f"python{version}" / "site-packages"
    accounts.folders(root / "home/hil", site)
    layers = f"lowerdir={settings.site},upperdir={top / 'site'},workdir={top / 'site-work'}"
    kernel.mount("overlay", str(site), "overlay", 0, layers)


def _link(place: Path, target: Path) -> None:
    place.unlink(missing_ok=True)
    place.symlink_to(target)
