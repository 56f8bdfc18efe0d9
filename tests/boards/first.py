"""The board's first process: mounts the file systems of a boot, starts sshd, updates ``/proc/meminfo``."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import traceback
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from tests.boards import kernel

if TYPE_CHECKING:
    from tests.boards.root import Settings

_PAGE = os.sysconf("SC_PAGE_SIZE")
PERIOD = 0.1
"""Seconds between two updates of ``/proc/meminfo``."""


def first_process(settings: Settings) -> NoReturn:
    """Run as process 1 of the board, until the board ends."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGCHLD})
    try:
        memory = _mount(settings)
        _start(settings)
        while True:
            memory.write()
            signal.sigtimedwait({signal.SIGCHLD}, PERIOD)
            _reap()
    except BaseException:  # noqa: BLE001 - the outermost handler: any error is printed and ends the board
        traceback.print_exc()
    os._exit(1)


def _mount(settings: Settings) -> Memory:
    for place in ("/run", "/tmp"):  # noqa: S108 - the board's own /tmp, made here
        kernel.mount("tmpfs", place, "tmpfs", 0, "mode=755" if place == "/run" else "mode=1777")
    kernel.mount("proc", "/proc", "proc")
    memory = Memory(settings)
    memory.write()
    kernel.bind(memory.place, "/proc/meminfo")
    scope = Path("/run/init.scope")
    scope.write_text("0::/init.scope\n", encoding="utf-8")  # systemd's, which a board has and a container has not
    kernel.bind(str(scope), "/proc/1/cgroup")
    boot_id = Path("/run/boot_id")
    boot_id.write_text(f"{uuid.uuid4()}\n", encoding="utf-8")
    kernel.bind(str(boot_id), "/proc/sys/kernel/random/boot_id")
    return memory


def _start(settings: Settings) -> None:
    Path("/run/sshd").mkdir(mode=0o755)
    log = os.open("/var/log/sshd.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    null = os.open("/dev/null", os.O_RDONLY)
    clean = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}
    subprocess.Popen(settings.sshd, stdin=null, stdout=log, stderr=log, env=clean, start_new_session=True)
    for number in (0, 1, 2):
        os.dup2(null if number == 0 else log, number)


def _reap() -> None:
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        pass


class Memory:
    """A ``/proc/meminfo`` with the board's memory, of which the board's processes use a part.

    It is rewritten in place with lines of fixed width, so that a reader never gets a truncated file.
    """

    def __init__(self, settings: Settings) -> None:
        self.place = "/run/meminfo"
        self._real = settings.meminfo
        self._total = int(settings.facts["memory_kib"])
        self._swap = int(settings.facts["swap_kib"])
        self._file = os.open(self.place, os.O_RDWR | os.O_CREAT, 0o444)

    def write(self) -> None:
        """Write the current values."""
        used = self._total // 8 + self._processes()  # an idle system uses an eighth
        swapped = min(_number("/usr/local/lib/board/swap_used_kib"), self._swap)
        free = max(0, self._total - used)
        values = {"MemTotal": self._total, "MemFree": free, "MemAvailable": free, "SwapTotal": self._swap}
        values["SwapFree"] = self._swap - swapped
        text = os.pread(self._real, 1 << 16, 0).decode()
        lines = [self._line(line, values) for line in text.splitlines()]
        os.pwrite(self._file, "".join(lines).encode(), 0)

    @staticmethod
    def _line(line: str, values: dict[str, int]) -> str:
        name, _, rest = line.partition(":")
        number = values.get(name, int(rest.split()[0]))
        unit = " kB" if rest.endswith("kB") else "   "
        return f"{name + ':':<16}{number:>16}{unit}\n"

    @staticmethod
    def _processes() -> int:
        """Return the private memory of the board's processes in KiB."""
        pages = 0
        for entry in os.listdir("/proc"):  # noqa: PTH208 - ten times a second, in a process that must stay light
            if entry.isdigit() and entry != "1":
                try:
                    with open(f"/proc/{entry}/statm", encoding="utf-8") as file:  # noqa: PTH123 - as above
                        _, resident, shared = file.read().split()[:3]
                except (OSError, ValueError):
                    continue  # it has ended meanwhile
                pages += int(resident) - int(shared)
        return pages * _PAGE // 1024


def _number(place: str) -> int:
    try:
        return int(re.sub(r"\s", "", Path(place).read_text(encoding="utf-8")) or 0)
    except (OSError, ValueError):
        return 0
