"""Attacks by a user who may start the helper: it must grant no more than ``docs/board-setup.md`` states."""

from __future__ import annotations

import contextlib
import os
import random
import re
import signal
import subprocess
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.board.sandbox import PROGRAM, HelperProcess
from tests.board.test_helper import FREE, LOCKED, STORE, clocks, undo

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.board.sandbox import Sandbox

ALLOWED = re.compile(
    r"nvpmodel (-q|-m [02])"
    r"|jetson_clocks (--show|--store /run/pytest-hil/clocks\.new|--restore /run/pytest-hil/clocks|)"
    r"|systemctl (show --property=ActiveState --value|start|stop|restart) -- (robot|camera)\.service"
)
VERBS = ("version", "nvmap", "emc", "drop_caches", "clocks", "mode", "service")
WORDS = ("lock", "restore", "show", "start", "stop", "restart", "robot", "camera", "MAXN", "15W", "0", "", "--", "-m")
LINES = st.one_of(
    st.binary(max_size=300),
    st.lists(st.sampled_from(VERBS + WORDS), max_size=5).map(lambda words: " ".join(words).encode()),
    st.tuples(st.sampled_from(VERBS), st.text(max_size=30), st.sampled_from(WORDS)).map(
        lambda words: " ".join(words).encode()
    ),
).filter(lambda line: b"\n" not in line)
BEFORE = """
import os, resource, signal, sys
signal.signal(signal.SIGCHLD, signal.SIG_IGN)
signal.signal(signal.SIGTERM, signal.SIG_IGN)
signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals() if hasattr(signal, "valid_signals") else [])
signal.setitimer(signal.ITIMER_REAL, 1.0)
for limit in (resource.RLIMIT_FSIZE, resource.RLIMIT_CPU):
    resource.setrlimit(limit, (1, 1 if "hard" in sys.argv[1:2] else resource.RLIM_INFINITY))
resource.setrlimit(resource.RLIMIT_NOFILE, (16, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
for descriptor in (7, 8, 9):
    os.dup2(2, descriptor)
os.umask(0)
program = sys.argv[-1]
os.execv(program, [program])
"""


UNKNOWN = (
    "",
    " ",
    "help",
    "version now",
    "clocks",
    "clocks lock now",
    "clocks  lock",
    "clocks lock ",
    " clocks lock",
    "clocks\tlock",
    "clocks lock\r",
    "clocks lock\0",
    "Clocks lock",
    "clocks --store",
    "clocks lock;id",
    "_undo_now x",
    "__init__",
    "mode ../MAXN",
    "mode -m",
    "mode MAXN;reboot",
    "mode 0",
    "service stop",
    "service stop ../robot",
    "service stop --force",
    "service stop /etc/robot.service",
    "service stop sshd",
    "service stop robot.service",
    "service stop robot*",
    "service stop robot camera",
    "service start -- robot",
    "service mask robot",
    "service stop robotx",
    "service stop $(id)",
    "service stop " + "a" * 300,
)
"""Lines that the helper refuses."""


def test_unknown_lines_run_nothing(board: Sandbox) -> None:
    """Each unknown line is refused, and starts no program."""
    with board.helper(user=True) as helper:
        for line in UNKNOWN:
            assert helper.ask(line)["ok"] is False, line
            changing = [call for call in board.calls if "-q" not in call and "show" not in call]
            assert changing == [], line


def test_a_newline_is_a_second_line(board: Sandbox) -> None:
    """A newline in a line makes a second command; it cannot add words to an allowed command."""
    with board.helper(user=True) as helper:
        helper.send(b"service restart robot\nservice restart sshd\n")
        assert helper.answer()["ok"]
        assert "lists no service sshd" in helper.answer()["error"]


def test_no_line_runs_an_unlisted_program(board: Sandbox) -> None:
    """For any input, programs and their arguments come from the fixed list."""
    helpers = [board.helper(user=True)]

    @settings(max_examples=75, deadline=None, suppress_health_check=list(HealthCheck))
    @given(LINES)
    def holds(line: bytes) -> None:
        helpers[-1].send(line + b"\n")
        if helpers[-1].answer() is None:  # too long
            helpers.append(board.helper(user=True))

    holds()
    for helper in helpers:
        if helper.process.stdin is not None and not helper.process.stdin.closed:
            helper.end()
    assert [call for call in board.calls if not ALLOWED.fullmatch(call)] == []
    assert (clocks(board), board.fake("mode").read_text()) == (FREE, "2\n")


def test_an_incomplete_line_does_nothing(board: Sandbox) -> None:
    """A line that a lost connection cut off is not executed."""
    with board.helper() as helper:
        helper.send(b"service restart robot")
    assert board.calls == []


def test_an_endless_line_ends_the_helper(board: Sandbox) -> None:
    """The helper reads no more than the maximum length of a line, then undoes its changes and exits."""
    helper = board.helper(user=True)
    helper.ask("clocks lock")
    with contextlib.suppress(BrokenPipeError):
        for _ in range(4096):
            helper.send(b"x" * 4096)
        pytest.fail("16 MiB were read of one line")
    assert helper.end() == 0
    assert clocks(board) == FREE


def test_unread_answers_do_not_block_the_helper(board: Sandbox) -> None:
    """If nobody reads its answers, the helper still notices the end of its caller and restores the clocks."""
    helper = board.helper()
    helper.ask("clocks lock")
    board.place("/sys/kernel/debug/nvmap/iovmm/clients", "x" * (1 << 20))
    helper.send(b"nvmap\n" * 8)
    helper.process.communicate(timeout=30)
    assert clocks(board) == FREE


def test_arguments_are_refused(board: Sandbox) -> None:
    """The program itself refuses arguments, even if the sudoers file allows them."""
    done = board.run(PROGRAM, "version", input="clocks lock\n")
    assert (done.returncode, done.stdout) == (64, "")
    assert board.calls == []


def test_without_root_it_does_nothing(board: Sandbox) -> None:
    """Started without sudo, the helper exits at once."""
    done = board.run(PROGRAM, user=True, input="clocks lock\n")
    assert (done.returncode, done.stdout) == (64, "")


def test_the_environment_is_ignored(board: Sandbox) -> None:
    """No module, start-up file or program of the user is used, even if sudo passes the variables on."""
    evil = "import os\nos.system('/usr/bin/touch /srv/hil/pwned')\n"
    for name in ("json.py", "sitecustomize.py", "usercustomize.py", "start.py"):
        board.place(f"/srv/hil/{name}", evil)
    for name in ("systemctl", "nvpmodel", "jetson_clocks", "sh"):
        board.place(f"/srv/hil/{name}", "#!/bin/sh\n/usr/bin/touch /srv/hil/pwned\n", 0o755)
    board.place("/srv/hil/env.sh", "/usr/bin/touch /srv/hil/pwned\n")
    keys = {
        "PATH": "/srv/hil:/usr/bin",
        "PYTHONPATH": "/srv/hil",
        "PYTHONHOME": "/srv/hil",
        "PYTHONSTARTUP": "/srv/hil/start.py",
        "PYTHONUSERBASE": "/srv/hil",
        "PYTHONINSPECT": "1",
        "BASH_ENV": "/srv/hil/env.sh",
        "ENV": "/srv/hil/env.sh",
        "HOME": "/srv/hil",
        "LD_LIBRARY_PATH": "/srv/hil",
        "IFS": "/",
        "SHELLOPTS": "xtrace",
    }
    with board.helper(env={**os.environ, **keys}, cwd="/tmp") as helper:  # noqa: S108 - anybody's folder is the point
        for line in ("clocks lock", "mode MAXN", "service restart robot"):
            assert helper.ask(line)
    with board.helper(user=True, env={**os.environ, **keys}) as helper:
        assert helper.ask("clocks lock")["ok"]
    assert not board.file("/srv/hil/pwned").exists()
    assert "/srv/hil" not in board.fake("env").read_text()


def test_the_callers_process_settings_are_reset(board: Sandbox) -> None:
    """Whatever signals and limits the caller set, the helper reports failures, and ends and restores at SIGTERM."""
    board.fake("fail-nvpmodel").write_text("-m 0\n")
    with board.helper(around=("/usr/bin/python3", "-c", BEFORE)) as helper:
        assert "nvpmodel exited with code 3" in helper.ask("mode MAXN")["error"]
        assert helper.ask("clocks lock")["ok"]
        assert clocks(board) == LOCKED
        helper.process.send_signal(signal.SIGTERM)
        assert helper.process.wait(20) == 0
    assert clocks(board) == FREE


@pytest.mark.parametrize("may", [False, True])
def test_limits_that_cannot_be_reset_are_an_error(board: Sandbox, *, may: bool) -> None:
    """The helper resets all limits if it may, as root usually; otherwise it exits with an error and changes nothing."""
    around = () if may else ("/usr/bin/setpriv", "--bounding-set=-sys_resource", "--inh-caps=-sys_resource")
    status = board.run(*around, "/usr/bin/cat", "/proc/self/status").stdout
    has = bool(int(status.partition("CapEff:")[2].split()[0], 16) >> 24 & 1)  # CAP_SYS_RESOURCE
    done = board.run(*around, "/usr/bin/python3", "-c", BEFORE, "hard", PROGRAM, input="clocks lock\n")
    assert ('"ok": true' in done.stdout) is has
    assert ("limits cannot be reset" in done.stderr) is not has
    assert "Traceback" not in done.stderr
    assert clocks(board) == FREE


def test_a_timer_of_the_caller_does_not_end_it(board: Sandbox) -> None:
    """A timer that the caller set before ``exec`` does not end the helper."""
    with board.helper(around=("/usr/bin/python3", "-c", BEFORE)) as helper:
        helper.ask("version")
        with pytest.raises(subprocess.TimeoutExpired):
            helper.process.wait(1.5)
        assert helper.ask("version")["ok"]


def test_closed_descriptors_are_not_reused(board: Sandbox) -> None:
    """If the caller closed the standard descriptors, no output of the helper gets into its state files."""
    board.run("/bin/sh", "-c", f"exec {PROGRAM} <&- >&- 2>&-")
    shell = f"echo 'clocks lock' | {PROGRAM} >&- 2>&-"
    board.run("/bin/sh", "-c", shell)
    assert clocks(board) == FREE
    files = list(board.file("/run/pytest-hil").glob("[gu]*"))
    assert files
    for path in files:
        assert path.read_text() in ("", "[]")


@pytest.mark.parametrize("how", ["link", "owner", "mode"])
def test_a_state_folder_open_to_other_users_is_refused(board: Sandbox, how: str) -> None:
    """A state folder that other users can change is neither used for saving nor for restoring."""
    folder = board.file("/run/pytest-hil")
    if how == "link":
        board.run("/usr/bin/ln", "-s", "/srv/hil", "/run/pytest-hil").check_returncode()
    else:
        folder.mkdir(0o700)
        if how == "owner":
            os.chown(folder, 4711, 4711)
        else:
            folder.chmod(0o755)
    with board.helper(user=True) as helper:
        reply = helper.answer()
        assert reply["ok"] is False
        assert "users other than root" in reply["error"]
    assert board.calls == []


PATHS = {
    "/usr/sbin/nvpmodel": "mode MAXN",
    "/usr/bin/jetson_clocks": "clocks lock",
    "/usr/bin/systemctl": "service restart robot",
    "/etc/nvpmodel.conf": "mode MAXN",
    "/etc/pytest-hil/services": "service restart robot",
    "/etc/pytest-hil": "service restart robot",
}


@pytest.mark.parametrize("how", ["group", "others", "owner", "link", "linked folder"])
def test_files_that_others_can_change_are_not_used(board: Sandbox, how: str) -> None:
    """A file that others can change, itself or by a folder or link on its path, is neither run nor read."""
    for path, line in PATHS.items():
        with changeable_by_others(board, path, how), board.helper(user=True) as helper:
            reply = helper.ask(line)
            assert reply["ok"] is False, path
            assert "can be changed by users other than root" in reply["error"], path
        assert [call for call in board.calls if "-m" in call or "restart" in call or "--store" in call] == [], path


@contextlib.contextmanager
def changeable_by_others(board: Sandbox, path: str, how: str) -> Iterator[None]:
    """Let other users change a file or folder of root by its owner, its mode or a link; undo this at the end."""
    file, theirs = board.file(path), "/srv/hil/theirs"
    if "link" in how:
        board.run("/usr/bin/mv", path, theirs).check_returncode()
        board.run("/usr/bin/ln", "-s", theirs, path).check_returncode()
        if how == "linked folder":  # root's file in the user's folder: the name can be given to another file
            board.run("/usr/bin/chown", "-R", "0:0", theirs).check_returncode()
        yield
        file.unlink()
        board.run("/usr/bin/mv", theirs, path).check_returncode()
        return
    before = file.stat()
    if how == "owner":
        os.chown(file, 4711, 4711)
    else:
        file.chmod(before.st_mode | (0o020 if how == "group" else 0o002))
    yield
    os.chown(file, before.st_uid, before.st_gid)
    file.chmod(before.st_mode)


def test_parallel_and_killed_helpers_restore_the_clocks(board: Sandbox) -> None:
    """With parallel callers, some of them killed, locked clocks are never saved; the last helper restores them."""
    chance = random.Random(7)  # noqa: S311 - which of them die
    for _ in range(3):
        helpers = [HelperProcess((*board.into, PROGRAM)) for _ in range(4)]
        for helper in helpers:
            helper.send(
                b"clocks lock\nservice stop robot\n" if chance.random() < 0.7 else b"service stop robot\nnvmap\n"
            )
        for helper in helpers:
            if chance.random() < 0.5:
                board.wait_until(lambda: False, chance.random() * 0.15)
                helper.process.kill()
            helper.end()
    with board.helper() as last:
        last.ask("version")
    assert (clocks(board), undo(board)) == (FREE, [])
    assert board.fake("units/robot.service").read_text() == "active\n"
    assert STORE in board.calls
