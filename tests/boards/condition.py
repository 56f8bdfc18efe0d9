"""Changing the state of a board: temperature, throttling, GPU clients, clock, memory, disk."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tests.boards import accounts, memory

if TYPE_CHECKING:
    import subprocess
    from pathlib import Path

THERMAL = "/sys/class/thermal"
FAKETIME = "/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1"


class Condition:
    """The state of a board that tests can change; base class of ``SimulatedBoard``."""

    first: int
    facts: dict[str, Any]

    if TYPE_CHECKING:  # provided by the subclass

        def file(self, path: str | Path) -> Path: ...
        def wait_for_sshd(self, on: bool) -> None: ...
        def shell(self, *argv: str, user: str = "root", stdin: str = "") -> subprocess.CompletedProcess[str]: ...

    def write(self, path: str, content: object) -> None:
        """Write one attribute below ``/sys`` in place, as the kernel does."""
        self.file(path).write_text(f"{content}\n", encoding="utf-8")

    def read(self, path: str) -> str:
        """Return the text of a file, stripped."""
        return self.file(path).read_text(encoding="utf-8").strip()

    def temperature(self, celsius: float, zone: str | None = None) -> None:
        """Set the temperature of the thermal zone of this type, or of all readable zones."""
        for place in self._typed("thermal_zone", zone):
            if (place / "temp").is_file():
                (place / "temp").write_text(f"{round(celsius * 1000)}\n", encoding="utf-8")

    def throttle(self, on: bool, name: str = "gpu-throttle-alert") -> None:
        """Set or clear the throttle alert of this type."""
        [place] = self._typed("cooling_device", name)
        (place / "cur_state").write_text(f"{int(on)}\n", encoding="utf-8")

    def _typed(self, prefix: str, kind: str | None) -> list[Path]:
        places = sorted(self.file(THERMAL).glob(f"{prefix}*"))
        real = [self.file(f"{THERMAL}/{place.name}") for place in places]
        chosen = [place for place in real if kind in {None, (place / "type").read_text(encoding="utf-8").strip()}]
        if not chosen:
            raise LookupError(f"no {prefix} of type {kind}")
        return chosen

    def over_current(self, number: int, count: int) -> None:
        """Set one of Orin's over-current counters."""
        for place in self.file("/sys/class/hwmon").glob("hwmon*"):
            if self.read(f"/sys/class/hwmon/{place.name}/name") == "soctherm_oc":
                self.write(f"/sys/class/hwmon/{place.name}/oc{number}_event_cnt", count)
                return
        raise LookupError("this board has no over-current counters")

    def power_mode(self, name: str) -> None:
        """Set a power mode by name with ``nvpmodel -m``, as root."""
        modes = self.facts["power_modes"]["modes"]
        [number] = [mode["id"] for mode in modes if mode["name"] == name]
        self.shell("nvpmodel", "-m", str(number), stdin="YES\n")

    def gpu_clock(self, min_hz: int, max_hz: int, cur_hz: int) -> None:
        """Set the GPU's clock and its limits."""
        name = self.facts["devfreq"][0]["name"]
        for file, value in (("min_freq", min_hz), ("max_freq", max_hz), ("cur_freq", cur_hz)):
            self.write(f"/sys/class/devfreq/{name}/{file}", value)

    def gpu_clients(self, *clients: tuple[str, int, int]) -> None:
        """Set NvMap's list of GPU clients: (name, process id, KiB) each."""
        lines = [f"{'CLIENT':<20}{'PROCESS':>20}{'PID':>12}{'SIZE':>12}"]
        lines += [f"{'user':<20}{name:>20}{pid:>12}{f'{kib}K':>12}" for name, pid, kib in clients]
        lines += [f"{'total':<52}{f'{sum(kib for *_, kib in clients)}K':>12}"]
        self.write("/sys/kernel/debug/nvmap/iovmm/clients", "\n".join(lines))

    def swap(self, used_kib: int) -> None:
        """Set the amount of used swap."""
        self.file("/usr/local/lib/board/swap_used_kib").write_text(str(used_kib), encoding="utf-8")

    def clock(self, offset: str | None) -> None:
        """Shift only the wall clock of the user's programs, e.g. by ``-10y``; None resets it."""
        environment = f"PATH={accounts.PATH}"
        if offset is not None:
            faking = f"LD_PRELOAD={FAKETIME} FAKETIME={offset} FAKETIME_DONT_FAKE_MONOTONIC=1 DONT_FAKE_MONOTONIC=1"
            environment += f" {faking}"
        self.sshd_config(SetEnv=environment)

    def allow_sudo(self, password: str) -> None:
        """Give the user full sudo rights with this password, as on a developer kit."""
        self.shell("chpasswd", stdin=f"{accounts.USER}:{password}\n")
        self.shell("sh", "-c", f"umask 337; echo '{accounts.USER} ALL=(ALL) ALL' > /etc/sudoers.d/lab")

    def sshd_config(self, **settings: str) -> None:
        """Change settings of sshd; existing connections stay."""
        place = self.file("/etc/ssh/sshd_config")
        unchanged = [
            line for line in place.read_text(encoding="utf-8").splitlines() if line.split(" ")[0] not in settings
        ]
        lines = [*unchanged, *(f"{key} {value}" for key, value in settings.items())]
        place.write_text("\n".join(lines) + "\n", encoding="utf-8")
        self.sshd(on=False)
        self.sshd(on=True)

    def sshd(self, on: bool) -> None:
        """Start or stop the listening sshd."""
        if on:
            self.shell("/usr/sbin/sshd", "-E", "/var/log/sshd.log")
        else:
            self.shell("pkill", "-F", "/run/sshd.pid")
        self.wait_for_sshd(on)

    def memory_limit(self, size: int) -> None:
        """Limit the memory of the board's processes and of files they write, in bytes; the kernel enforces it."""
        memory.limit(self.first, size)

    def join_limit(self, outer: int) -> None:
        """Apply the board's memory limit to a process of this machine and to its future children."""
        memory.join(self.first, outer)

    def small_disk(self, path: str, size: int) -> None:
        """Mount a file system of ``size`` bytes at ``path``, owned by the user."""
        self.shell("mkdir", "-p", path)
        options = f"size={size},mode=700,uid={accounts.ID},gid={accounts.ID}"
        self.shell("mount", "-t", "tmpfs", "-o", options, "disk", path)
