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
from tests.boards.conftest import missing_requirement

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

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


@pytest.fixture(scope="module")
def shared_board(
    interpreters: Callable[..., Interpreter], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[SimulatedBoard]:
    """A board for tests that undo their changes."""
    if why := missing_requirement():
        pytest.skip(why)
    board = SimulatedBoard("jp62", interpreters("3.10"), tmp_path_factory.mktemp("jp62"))
    yield board
    board.close()


@EVERY
def test_each_generation(board: SimulatedBoard) -> None:
    """Over SSH, each generation has its own interpreter, release, module, power modes and tegrastats."""
    assert_identity(board)
    assert_tegrastats(board)
    assert_power_modes(board)


def assert_identity(board: SimulatedBoard) -> None:
    """Assert interpreter, user, release and module as a user reads them."""
    version, executable = json.loads(board.ssh("python3", "-c", CONTENT).stdout)
    assert ".".join(map(str, version)) == board.facts["python"]
    assert executable == "/usr/bin/python3"
    reads = ["id -un", "hostname", "dpkg-query -W -f='${Version}\\n' nvidia-l4t-core", "id -Gn"]
    reads += ["head -1 /etc/nv_tegra_release", "head -1 /proc/meminfo", "cat /sys/firmware/devicetree/base/compatible"]
    output = board.ssh("sh", "-c", "; ".join(reads)).stdout
    user, hostname, core, groups, release, memory, tree = output.split("\n")
    assert user == "hil"
    assert {"video", "render"} <= set(groups.split())
    assert hostname == board.facts["hostname"]
    assert release.startswith("# R")
    assert tree.split("\0") == [*board.facts["compatible"], ""]
    assert core == board.facts["packages"]["nvidia-l4t-core"]
    assert f"{board.facts['memory_kib']} kB" in memory


def assert_tegrastats(board: SimulatedBoard) -> None:
    """Assert that lines of tegrastats come at the requested interval and have the temperature that was set."""
    board.temperature(77.5)
    begun = time.monotonic()
    lines = board.ssh("sh", "-c", "tegrastats --interval 100 | head -n 6").stdout.splitlines()
    assert len(lines) == 6
    assert time.monotonic() - begun >= 0.5
    assert all("77.5C" in line for line in lines)
    zones = board.ssh("sh", "-c", "cat /sys/class/thermal/thermal_zone*/temp", check=False).stdout.split()
    assert set(zones) == {"77500"}


def assert_power_modes(board: SimulatedBoard) -> None:
    """Assert that the power mode is reported and limits the GPU, and that pinned clocks are restored."""
    modes = board.facts["power_modes"]["modes"]
    for mode in (modes[-1], modes[0]):
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


def test_memory_is_the_boards_own(shared_board: SimulatedBoard) -> None:
    """The available memory decreases by what the board's processes use, whatever else this machine runs."""
    code = "import re,time; a=bytearray(300<<20); time.sleep(.4); print(open('/proc/meminfo').read())"
    before = shared_board.ssh("grep", "MemAvailable", "/proc/meminfo").stdout.split()[1]
    during = shared_board.ssh("python3", "-c", code).stdout.split("MemAvailable:")[1].split()[0]
    assert 300 << 10 <= int(before) - int(during) <= 340 << 10


def test_wall_clock(shared_board: SimulatedBoard) -> None:
    """The user's wall clock has the offset that was set; monotonic time is unchanged."""
    shared_board.clock("-3650d")
    code = "import time; a=time.monotonic(); time.sleep(.1); print(time.time(), time.monotonic()-a)"
    shifted, elapsed = map(float, shared_board.ssh("python3", "-c", code).stdout.split())
    assert abs(time.time() - shifted - 3650 * 86400) < 60
    assert 0.1 <= elapsed < 5
    shared_board.clock(None)
    assert abs(time.time() - float(shared_board.ssh("date", "+%s").stdout)) < 60


def test_link(shared_board: SimulatedBoard) -> None:
    """A disconnected cable breaks no connection: once it is reconnected, pending data arrives."""
    with socket.create_connection((shared_board.host, shared_board.port), 5) as connection:
        assert connection.recv(100).startswith(b"SSH-2.0")
        shared_board.link(up=False)
        assert not reachable(shared_board.host, shared_board.port, 0.5)
        shared_board.link(up=True)
        assert reachable(shared_board.host, shared_board.port, 10)


def test_loss(shared_board: SimulatedBoard) -> None:
    """About as many packets are lost as was set, and none after the loss is reset."""
    shared_board.loss(0.3)
    count = ping(shared_board, 60)
    assert 15 <= count <= 45
    shared_board.loss(0)
    assert ping(shared_board, 10) == 10


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


def test_black_hole_and_closed_port(shared_board: SimulatedBoard) -> None:
    """A black hole never answers, and a closed port refuses at once. Both can be undone."""
    shared_board.black_hole(on=True)
    with pytest.raises(TimeoutError):
        socket.create_connection((shared_board.host, shared_board.port), 0.5)
    shared_board.black_hole(on=False)
    shared_board.sshd(on=False)
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((shared_board.host, shared_board.port), 0.5)
    shared_board.sshd(on=True)
    assert shared_board.ssh("true").returncode == 0


def test_relay(shared_board: SimulatedBoard) -> None:
    """A relay delays, stalls and resets connections as requested, and its host key is in ``known_hosts``."""
    relay = shared_board.relay(delay=0.2)
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
    assert f"[127.0.0.1]:{port} " in shared_board.known_hosts.read_text(encoding="ascii")


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


def test_small_disk(shared_board: SimulatedBoard) -> None:
    """The disk belongs to the user and is full after ``size`` bytes."""
    shared_board.small_disk("/home/hil/store", 1 << 20)
    done = shared_board.ssh("sh", "-c", "head -c 2000000 /dev/zero >store/file", check=False)
    assert "No space left" in done.stderr


def test_file_follows_the_boards_own_links(shared_board: SimulatedBoard) -> None:
    """Paths are resolved on the board: an absolute link never leads to this machine's files."""
    shared_board.shell(
        "sh", "-c", "mkdir /opt/x; echo inside >/opt/x/file; ln -s /opt/x /opt/y; ln -s ../opt/y/file /opt/z"
    )
    assert shared_board.file("/opt/z").read_text(encoding="ascii") == "inside\n"
    assert shared_board.read("/opt/y/file") == "inside"


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
    """Return whether an interface is removed within 5 s; the kernel removes it shortly after its namespace."""
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
