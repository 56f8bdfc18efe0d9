"""The system calls that a namespace is made of, which Python 3.10 has no names for."""

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
    """New namespaces for this process; one of process ids holds for its next child alone."""
    _checked(_LIBC.unshare(namespaces), "unshare")


def mount(source: str, place: str, kind: str = "", flags: int = 0, options: str = "") -> None:
    """``mount(2)``; ``kind`` is the file system's type."""
    done = _LIBC.mount(
        source.encode(), place.encode(), kind.encode(), ctypes.c_ulong(flags), ctypes.c_char_p(options.encode())
    )
    _checked(done, f"mount {source} on {place} ({options})")


def bind(source: str, place: str, *, read_only: bool = False) -> None:
    """Lets ``place`` be ``source`` as well, submounts included."""
    mount(source, place, "", BIND | RECURSIVE)
    if read_only:
        mount("none", place, "", BIND | REMOUNT | READ_ONLY)


def unmount(place: str) -> None:
    """Takes a mount away, at once even if it is in use."""
    _checked(_LIBC.umount2(place.encode(), DETACH), f"umount {place}")


def new_root(place: str) -> None:
    """Makes ``place``, a mount of its own, the root of this mount namespace; the old one is gone."""
    os.chdir(place)
    _checked(_LIBC.syscall(_PIVOT_ROOT[os.uname().machine], b".", b"."), "pivot_root")
    unmount(".")
    os.chdir("/")


def set_hostname(name: str) -> None:
    """The name of this namespace's machine."""
    _checked(_LIBC.sethostname(name.encode(), len(name)), "sethostname")


def die_with_parent() -> None:
    """Lets the kernel end this process when its parent ends, however that happens."""
    _checked(_LIBC.prctl(_SET_DEATH_SIGNAL, signal.SIGKILL), "prctl")
