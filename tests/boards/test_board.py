"""The simulated board: SSH shows the state that tests set, and closing a board leaves nothing behind."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.boards import generations, network
from tests.boards.board import REPOSITORY, SimulatedBoard, reachable

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.boards.board import Interpreter

EVERY = pytest.mark.parametrize("board", generations.GENERATIONS, indirect=True)
ECHO = """
import socket
one = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
one.bind(("", 9000))
print(1, flush=True)
while True:
    data, sender = one.recvfrom(9)
    try:
        one.sendto(data, sender)
    except PermissionError:  # raised for an outgoing packet that an iptables rule drops
        pass
"""
CONTENT = "import json,numpy,onnxruntime,sys; print(json.dumps([list(sys.version_info[:2]), sys.executable]))"


@EVERY
def test_identity_over_ssh(board: SimulatedBoard) -> None:
    """Over SSH, each generation has its own interpreter, release, module and user."""
    version, executable = json.loads(board.ssh("python3", "-c", CONTENT).stdout)
    assert ".".join(map(str, version)) == board.facts["python"]
    assert executable == "/usr/bin/python3"
    assert board.ssh("id", "-un").stdout == "hil\n"
    assert {"video", "render"} <= set(board.ssh("id", "-Gn").stdout.split())
    assert board.ssh("hostname").stdout.strip() == board.facts["hostname"]
    assert board.ssh("head", "-1", "/etc/nv_tegra_release").stdout.startswith("# R")
    tree = board.ssh("cat", "/sys/firmware/devicetree/base/compatible").stdout
    assert tree.split("\0") == [*board.facts["compatible"], ""]
    core = board.ssh("dpkg-query", "-W", "-f=${Version}", "nvidia-l4t-core").stdout
    assert core == board.facts["packages"]["nvidia-l4t-core"]
    assert f"{board.facts['memory_kib']} kB" in board.ssh("head", "-1", "/proc/meminfo").stdout


@EVERY
def test_isolation(board: SimulatedBoard) -> None:
    """A board has no access to this machine's users and processes, and its user cannot become root."""
    commands = [process.command for process in board.processes()]
    assert len(commands) == 1
    assert "[listener]" in commands[0]
    assert set(board.ssh("ls", "/home", "/work", check=False).stdout.split()) <= {"/home:", "/work:", "hil"}
    assert board.ssh("sudo", "-n", "true", check=False).returncode != 0
    assert board.ssh("cat", "/sys/kernel/debug/nvmap/iovmm/clients", check=False).returncode != 0
    assert board.shell("cat", "/sys/kernel/debug/nvmap/iovmm/clients").stdout.startswith("CLIENT")
    with pytest.raises(OSError, match="denied"):
        board.shell("touch", "/etc/mine", user="hil")


@EVERY
def test_power_mode_and_clocks(board: SimulatedBoard) -> None:
    """The power mode is reported and limits the GPU. Pinning sets all clocks to that limit; restoring resets them."""
    modes = board.facts["power_modes"]
    for mode in modes["modes"]:
        board.power_mode(mode["name"])
        output = board.ssh("nvpmodel", "-q").stdout
        assert output.endswith(f"NV Power Mode: {mode['name']}\n{mode['id']}\n")
    gpu = f"/sys/class/devfreq/{board.facts['devfreq'][0]['name']}"
    lowest = board.read(f"{gpu}/min_freq")
    assert board.ssh("nvpmodel", "-m", "0", check=False).returncode != 0
    board.shell("jetson_clocks", "--store", "/root/clocks")
    board.shell("jetson_clocks")
    assert board.read(f"{gpu}/min_freq") == board.read(f"{gpu}/max_freq") == board.read(f"{gpu}/cur_freq")
    board.shell("jetson_clocks", "--restore", "/root/clocks")
    assert board.read(f"{gpu}/min_freq") == lowest


@EVERY
def test_tegrastats_agrees_with_sysfs(board: SimulatedBoard) -> None:
    """Lines of tegrastats come at the requested interval and have the temperature that was set."""
    board.temperature(77.5)
    begun = time.monotonic()
    lines = board.ssh("timeout", "0.95", "tegrastats", "--interval", "100", check=False).stdout.splitlines()
    assert 5 <= len(lines) <= 11
    assert time.monotonic() - begun >= 0.9
    assert all("77.5C" in line for line in lines)
    zones = board.ssh("sh", "-c", "cat /sys/class/thermal/thermal_zone*/temp", check=False).stdout.split()
    assert set(zones) == {"77500"}


def test_conditions(board: SimulatedBoard) -> None:
    """The board shows throttling, over-current, clocks, GPU clients and swap as they were set."""
    board.throttle(on=True)
    board.over_current(3, 41)
    board.gpu_clock(306000000, 1173000000, 918000000)
    board.gpu_clients(("python3", 4711, 1024))
    board.swap(4096)
    command = "cd /sys/class; cat thermal/cooling_device2/type thermal/cooling_device2/cur_state hwmon/*/oc3_event_cnt"
    assert board.ssh("sh", "-c", f"{command} devfreq/*/cur_freq").stdout.split() == [
        "gpu-throttle-alert",
        "1",
        "41",
        "918000000",
    ]
    assert "4711" in board.shell("cat", "/sys/kernel/debug/nvmap/iovmm/clients").stdout
    time.sleep(0.3)
    memory = dict(line.split(":") for line in board.ssh("cat", "/proc/meminfo").stdout.splitlines())
    assert int(memory["SwapTotal"].split()[0]) - int(memory["SwapFree"].split()[0]) == 4096


def test_memory_is_the_boards_own(board: SimulatedBoard) -> None:
    """The available memory decreases by what the board's processes use, whatever else this machine runs."""
    code = "import re,time; a=bytearray(300<<20); time.sleep(.4); print(open('/proc/meminfo').read())"
    before = board.ssh("grep", "MemAvailable", "/proc/meminfo").stdout.split()[1]
    during = board.ssh("python3", "-c", code).stdout.split("MemAvailable:")[1].split()[0]
    assert 300 << 10 <= int(before) - int(during) <= 340 << 10


def test_wall_clock(board: SimulatedBoard) -> None:
    """The user's wall clock has the offset that was set; monotonic time is unchanged."""
    board.clock("-3650d")
    code = "import time; a=time.monotonic(); time.sleep(.1); print(time.time(), time.monotonic()-a)"
    shifted, elapsed = map(float, board.ssh("python3", "-c", code).stdout.split())
    assert abs(time.time() - shifted - 3650 * 86400) < 60
    assert 0.1 <= elapsed < 5
    board.clock(None)
    assert abs(time.time() - float(board.ssh("date", "+%s").stdout)) < 60


def test_link(board: SimulatedBoard) -> None:
    """A disconnected cable passes nothing, but breaks no connection: once reconnected, pending data arrives."""
    with socket.create_connection((board.host, board.port), 5) as connection:
        assert connection.recv(100).startswith(b"SSH-2.0")
        board.link(up=False)
        assert not reachable(board.host, board.port, 0.5)
        board.link(up=True)
        assert reachable(board.host, board.port, 10)


def test_loss(board: SimulatedBoard) -> None:
    """About this share of packets is lost, and none after the loss is reset."""
    board.loss(0.3)
    count = ping(board, 60)
    assert 15 <= count <= 45
    board.loss(0)
    assert ping(board, 10) == 10


def ping(board: SimulatedBoard, count: int) -> int:
    """Send ``count`` UDP datagrams to an echo server on the board; return the number of answers."""
    argv = ["nsenter", "-t", str(board.first), "-n", sys.executable, "-c", ECHO]
    program = subprocess.Popen(argv, stdout=subprocess.PIPE)
    try:
        assert program.stdout is not None
        assert program.stdout.read(1) == b"1"
        with program.stdout, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
            one.settimeout(0.3)
            for number in range(count):
                one.sendto(bytes([number]), (board.host, 9000))
            answers = 0
            try:
                while answers < count:
                    one.recv(9)
                    answers += 1
            except TimeoutError:
                pass
            return answers
    finally:
        program.kill()
        program.wait()


def test_black_hole_and_closed_port(board: SimulatedBoard) -> None:
    """A black hole never answers, and a closed port refuses at once. Both can be undone."""
    board.black_hole(on=True)
    with pytest.raises(TimeoutError):
        socket.create_connection((board.host, board.port), 0.5)
    board.black_hole(on=False)
    board.sshd(on=False)
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((board.host, board.port), 0.5)
    board.sshd(on=True)
    assert board.ssh("true").returncode == 0


def test_relay(board: SimulatedBoard) -> None:
    """A relay delays, stalls and resets connections as requested, and is a known host."""
    relay = board.relay(delay=0.2)
    host, port = relay
    with socket.create_connection((str(host), int(port)), 5) as connection:
        begun = time.monotonic()
        connection.sendall(b"SSH-2.0-test\r\n")
        assert connection.recv(100).startswith(b"SSH-2.0")
        assert time.monotonic() - begun >= 0.09
        connection.settimeout(0.5)
        connection.recv(1 << 16)
        relay.stall()
        connection.sendall(b"x" * 100)
        with pytest.raises(TimeoutError):
            connection.recv(100)
        relay.cut()
        with pytest.raises(ConnectionResetError):
            connection.recv(100)
    assert f"[127.0.0.1]:{port} " in board.known_hosts.read_text(encoding="ascii")


def test_reboot(board: SimulatedBoard) -> None:
    """A reboot ends all processes, keeps files, empties /tmp and changes the kernel's boot id."""
    board.shell("sh", "-c", "echo kept >~/file; echo removed >/tmp/file", user="hil")
    before = board.ssh("cat", "/proc/sys/kernel/random/boot_id").stdout
    sleeper = board.shell("sh", "-c", "setsid sleep 99 >/dev/null 2>&1 & echo $!", user="hil").stdout.strip()
    assert int(sleeper) in {process.pid for process in board.processes()}
    board.reboot()
    assert [process.user for process in board.processes()] == ["root"]
    assert board.ssh("cat", "file").stdout == "kept\n"
    assert board.ssh("cat", "/tmp/file", check=False).returncode != 0  # noqa: S108 - the board's own /tmp
    assert board.ssh("cat", "/proc/sys/kernel/random/boot_id").stdout != before


def test_memory_limit(board: SimulatedBoard) -> None:
    """The kernel kills a process that exceeds the limit; sshd stays."""
    board.memory_limit(300 << 20)
    killed = board.ssh("sh", "-c", "python3 -c 'bytearray(b\"x\") * (400 << 20)'; echo $?")
    assert killed.stdout == "137\n"
    assert board.ssh("true").returncode == 0


def test_small_disk(board: SimulatedBoard) -> None:
    """The disk belongs to the user and is full after ``size`` bytes."""
    board.small_disk("/home/hil/store", 1 << 20)
    done = board.ssh("sh", "-c", "head -c 2000000 /dev/zero >store/file", check=False)
    assert "No space left" in done.stderr


def test_file_follows_the_boards_own_links(board: SimulatedBoard) -> None:
    """Paths are resolved on the board: an absolute link never leads to this machine's files."""
    board.shell("sh", "-c", "mkdir /opt/x; echo inside >/opt/x/file; ln -s /opt/x /opt/y; ln -s ../opt/y/file /opt/z")
    assert board.file("/opt/z").read_text(encoding="ascii") == "inside\n"
    assert board.read("/opt/y/file") == "inside"


def test_close_removes_the_board(board: SimulatedBoard) -> None:
    """``close`` removes the board's processes, interface and address."""
    outer, near = [process.outer for process in board.processes()], board.network.near
    board.close()
    assert not any(Path(f"/proc/{number}").exists() for number in outer)
    assert is_removed(near)


def test_a_killed_test_process_leaves_no_board(interpreters: Callable[[str], Interpreter], tmp_path: Path) -> None:
    """A killed test process leaves no board behind."""
    interpreter = interpreters("3.10")
    code = (
        "import sys, time; from pathlib import Path; from tests.boards.board import Interpreter, SimulatedBoard\n"
        f"b = SimulatedBoard('jp62', Interpreter({interpreter.prefix!r}, {interpreter.site!r}), Path(sys.argv[1]))\n"
        "print(b.first, b.network.near, flush=True); time.sleep(99)"
    )
    argv = (sys.executable, "-c", code, str(tmp_path))
    with subprocess.Popen(argv, cwd=REPOSITORY, stdout=subprocess.PIPE, text=True) as program:
        assert program.stdout is not None
        first, near = program.stdout.readline().split()
        os.kill(program.pid, signal.SIGKILL)
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline and (Path(f"/proc/{first}").exists() or not is_removed(near)):
        time.sleep(0.05)
    assert not Path(f"/proc/{first}").exists()
    assert is_removed(near)


def is_removed(near: str) -> bool:
    """Return whether an interface has been removed, which the kernel does shortly after removing its namespace."""
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline and Path(f"/sys/class/net/{near}").exists():
        time.sleep(0.05)
    return not Path(f"/sys/class/net/{near}").exists()


def test_several_at_once(boards: Callable[[str], SimulatedBoard]) -> None:
    """Several boards have different addresses and host keys."""
    one, two = boards("jp62"), boards("jp62")
    assert one.host != two.host
    assert (
        one.known_hosts.read_text(encoding="ascii").split()[2] != two.known_hosts.read_text(encoding="ascii").split()[2]
    )
    assert isinstance(one.network, network.Cable)
    for each in (one, two):
        assert each.ssh("true").returncode == 0
