"""System calls for namespaces that Python 3.10 does not offer."""

from __future__ import annotations

import ctypes
import os
import signal

_LIBC = ctypes.CDLL(None, use_errno=True)

# linux/sched.h and sys/mount.h
NEW_MOUNTS, NEW_HOSTNAME, NEW_IPC, NEW_PIDS, NEW_NETWORK = 0x20000, 0x4000000, 0x8000000, 0x20000000, 0x40000000
READ_ONLY, REMOUNT, BIND, RECURSIVE, PRIVATE = 1, 32, 4096, 16384, 1 << 18
DETACH = 2
_PIVOT_ROOT = {"x86_64": 155, "aarch64": 41}
_SET_DEATH_SIGNAL = 1


def _checked(result: int, what: str) -> None:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")


def unshare(namespaces: int) -> None:
    """Move this process into new namespaces. A new PID namespace applies to its next child only."""
    _checked(_LIBC.unshare(namespaces), "unshare")


def mount(source: str, place: str, kind: str = "", flags: int = 0, options: str = "") -> None:
    """Call ``mount(2)``; ``kind`` is the file system type."""
    done = _LIBC.mount(
        source.encode(), place.encode(), kind.encode(), ctypes.c_ulong(flags), ctypes.c_char_p(options.encode())
    )
    _checked(done, f"mount {source} on {place} ({options})")


def bind(source: str, place: str, *, read_only: bool = False) -> None:
    """Bind-mount ``source`` at ``place``, with its submounts."""
    mount(source, place, "", BIND | RECURSIVE)
    if read_only:
        mount("none", place, "", BIND | REMOUNT | READ_ONLY)


def unmount(place: str) -> None:
    """Detach a mount, even if it is in use."""
    _checked(_LIBC.umount2(place.encode(), DETACH), f"umount {place}")


def new_root(place: str) -> None:
    """Make the mount ``place`` the root of this mount namespace, and unmount the old root."""
    os.chdir(place)
    _checked(_LIBC.syscall(_PIVOT_ROOT[os.uname().machine], b".", b"."), "pivot_root")
    unmount(".")
    os.chdir("/")


def set_hostname(name: str) -> None:
    """Set the host name of this namespace."""
    _checked(_LIBC.sethostname(name.encode(), len(name)), "sethostname")


def die_with_parent() -> None:
    """Let the kernel kill this process when its parent ends."""
    _checked(_LIBC.prctl(_SET_DEATH_SIGNAL, signal.SIGKILL), "prctl")
