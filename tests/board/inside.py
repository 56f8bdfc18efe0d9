"""Turns this process's mount namespace into a board; ``sandbox.py`` runs it in a new namespace, without site-packages.

The files that the helper and sudo use are mounted over this machine's folders, and vanish with the process.
"""

from __future__ import annotations

import os
import select
import socket
import sys
from pathlib import Path

from tests.boards import kernel

OVER = ("/usr", "/etc", "/dev")
"""Folders that are covered as a whole: a rename onto a mount inside one would change this machine's own folder."""
EMPTY = ("/run", "/sys/kernel/debug", "/srv")
BASE = Path("/mnt")
USER, PASSWORD = "hil", "correct horse"
SHADOW = "$6$boardsandbox$LDZuVxNrtReqGDx0942P1CO1DdvHd0fbX.d0XWsljsnJgOJvS4PQxCJBi686gUyBhNCDH3W4BhJdT3jrkgNlu1"
"""The hash of ``PASSWORD``, as ``openssl passwd -6`` prints it."""
FAKE = BASE / "fake"

CONF = """\
< PARAM TYPE=FILE NAME=TPC_POWER_GATING >
TPC_PG_MASK /sys/devices/gpu.0/tpc_pg_mask
< POWER_MODEL ID=0 NAME=MAXN >
CPU_ONLINE CORE_0 1
TPC_POWER_GATING TPC_PG_MASK 0
GPU MAX_FREQ -1
< POWER_MODEL ID=1 NAME=15W >
TPC_POWER_GATING TPC_PG_MASK 248
< POWER_MODEL ID=2 NAME=MODE_30W >
TPC_POWER_GATING TPC_PG_MASK 0
< PM_CONFIG DEFAULT=2 >
"""
NVPMODEL = """\
case "$1" in
-q) echo "NVPM WARN: fan mode is not set!"
    echo "NV Power Mode: $(sed -n "s/^< POWER_MODEL ID=$(cat $F/mode) NAME=\\(.*\\) >/\\1/p" /etc/nvpmodel.conf)"
    cat $F/mode ;;
-m) echo "$2" > $F/mode ;;
esac
"""
CLOCKS = """\
case "$1" in
--show) m=$(cat $F/clocks)
    echo "SOC family:tegra234  Machine:none"
    echo "cpu0: Online=1 Governor=schedutil MinFreq=$m MaxFreq=2201600 CurrentFreq=2201600 IdleStates: WFI=1 c7=1"
    echo "cpu1: Online=0 Governor=schedutil MinFreq=729600 MaxFreq=2201600 CurrentFreq=0"
    echo "GPU MinFreq=$m MaxFreq=2201600 CurrentFreq=$m"
    echo "EMC MinFreq=204000000 MaxFreq=3199000000 CurrentFreq=3199000000 FreqOverride=0" ;;
--store) test ! -e "$2" || exit 1
    cat $F/clocks > "$2" ;;
--restore) cat "$2" > $F/clocks ;;
"") echo 2201600 > $F/clocks ;;
esac
"""
SYSTEMCTL = """\
for unit; do :; done
case "$1" in
show) if [ "$2" = --property=ActiveState ]; then cat "$F/units/$unit" 2>/dev/null || echo inactive
    else cat "$F/shown/$unit" 2>/dev/null || echo LoadState=not-found; fi ;;
start|restart) echo active > "$F/units/$unit" ;;
stop) cat "$F/stays" > "$F/units/$unit" 2>/dev/null || echo inactive > "$F/units/$unit" ;;
esac
"""
HEAD = """\
#!/bin/sh
F=/mnt/fake
echo "$(basename "$0") $*" >> $F/calls
umask > $F/umask
env | grep -v "^_=" > $F/env
ls /proc/$$/fd > $F/descriptors
test ! -e $F/slow || sleep "$(cat $F/slow)"
if [ -e "$F/fail-$(basename "$0")" ] && grep -qxe "$*" "$F/fail-$(basename "$0")"; then
    test ! -e $F/once || rm "$F/fail-$(basename "$0")"; echo "it is broken"; exit 3; fi
"""


def mount_overlays() -> None:
    """Mount overlays over the folders that change, and empty file systems over those that must be empty."""
    kernel.mount("none", "/", "", kernel.RECURSIVE | kernel.PRIVATE)
    for place in (str(BASE), *EMPTY):
        mode = "mode=0700" if "debug" in place else "mode=0755"
        kernel.mount("none", place, "tmpfs", 0, mode)
    for number, place in enumerate(OVER):
        upper, work = BASE / f"upper{number}", BASE / f"work{number}"
        upper.mkdir()
        upper.chmod(0o755)
        work.mkdir()
        layers = f"lowerdir={place},upperdir={upper},workdir={work}"
        kernel.mount("none", place, "overlay", 0, layers)


def create_board() -> None:
    """Create the board's programs, its files in debugfs, and one user without privileges."""
    for folder in (FAKE / "units", FAKE / "shown", Path("/sys/kernel/debug/nvmap/iovmm"), Path("/etc/sudoers.d")):
        folder.mkdir(parents=True, exist_ok=True)
    programs = {"/usr/sbin/nvpmodel": NVPMODEL, "/usr/bin/jetson_clocks": CLOCKS, "/usr/bin/systemctl": SYSTEMCTL}
    for path, text in programs.items():
        Path(path).unlink(missing_ok=True)
        Path(path).write_text(HEAD + text, encoding="ascii")
        Path(path).chmod(0o755)
    Path("/etc/nvpmodel.conf").write_text(CONF, encoding="ascii")
    (FAKE / "mode").write_text("2\n", encoding="ascii")
    (FAKE / "clocks").write_text("729600\n", encoding="ascii")
    (FAKE / "calls").touch()
    Path("/sys/kernel/debug/nvmap/iovmm/clients").write_text("user python3 12 4096K\ntotal 4096K\n", encoding="ascii")
    (FAKE / "drop_caches").touch()
    kernel.bind(str(FAKE / "drop_caches"), "/proc/sys/vm/drop_caches")
    emc = Path("/sys/kernel/debug/bpmp/debug/clk/emc")
    emc.mkdir(parents=True)
    for name, value in (("rate", 2133000000), ("min_rate", 204000000), ("max_rate", 3199000000)):
        (emc / name).write_text(f"{value}\n", encoding="ascii")
    account()


def account() -> None:
    """Create the user ``hil`` with a password, a home folder and no privileges."""
    with Path("/etc/passwd").open("a", encoding="ascii") as file:
        file.write(f"{USER}:x:4711:4711::/srv/{USER}:/bin/sh\n")
    with Path("/etc/group").open("a", encoding="ascii") as file:
        file.write(f"{USER}:x:4711:\n")
    with Path("/etc/shadow").open("a", encoding="ascii") as file:
        file.write(f"{USER}:{SHADOW}:19000:0:99999:7:::\n")
    home = Path("/srv") / USER
    home.mkdir()
    os.chown(home, 4711, 4711)


def write_log() -> None:
    """Write the messages of ``/dev/log`` to a file until standard input ends."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as log, (FAKE / "log").open("ab", buffering=0) as file:
        log.bind("/dev/log")
        Path("/dev/log").chmod(0o666)
        sys.stdout.write("ready\n")
        sys.stdout.flush()
        while sys.stdin not in select.select([log, sys.stdin], [], [])[0]:
            file.write(log.recv(1 << 16) + b"\n")


if __name__ == "__main__":
    mount_overlays()
    create_board()
    write_log()
