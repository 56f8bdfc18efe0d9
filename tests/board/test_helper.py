"""The helper undoes its changes, however it ends."""

from __future__ import annotations

import json
import signal
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.board.sandbox import PROGRAM, SUDOERS, HelperProcess

if TYPE_CHECKING:
    from tests.board.sandbox import Sandbox

FREE, LOCKED = "729600\n", "2201600\n"
STORE, RESTORE = "jetson_clocks --store /run/pytest-hil/clocks.new", "jetson_clocks --restore /run/pytest-hil/clocks"
CALLER = """
import time
from agent.machine.root_helper import Helper
helper = Helper.open()
print(helper.ask("clocks", "lock") if helper else Helper.why_not, flush=True)
time.sleep(60)
"""


def clocks(board: Sandbox) -> str:
    """Return the current minimum clock."""
    return board.fake("clocks").read_text()


def unit(board: Sandbox, name: str) -> str:
    """Return systemd's current state of a service."""
    return board.fake(f"units/{name}.service").read_text().strip()


def undo(board: Sandbox) -> list[list[object]]:
    """Return the recorded changes."""
    entries: list[list[object]] = json.loads(board.file("/run/pytest-hil/undo").read_text())
    return entries


@pytest.mark.parametrize("user", [False, True], ids=["root", "sudo"])
def test_reads(board: Sandbox, *, user: bool) -> None:
    """The helper returns files that only root can read, to root and to the user through sudo."""
    with board.helper(user=user) as helper:
        assert helper.ask("version")["ok"]
        assert helper.ask("nvmap")["text"].startswith("user python3 12 4096K")
        assert helper.ask("emc") == {"ok": True, "rate": 2133000000, "min_rate": 204000000, "max_rate": 3199000000}
        assert helper.ask("clocks show")["locked"] is False
        assert helper.ask("drop_caches") == {"ok": True}
    assert board.fake("drop_caches").read_text() == "3\n"


def test_missing_files_are_an_error(board: Sandbox) -> None:
    """On a board without NvMap or EMC in debugfs, the answer is a reason instead of zero."""
    board.run("/usr/bin/rm", "-r", "/sys/kernel/debug/nvmap", "/sys/kernel/debug/bpmp", "/usr/bin/jetson_clocks")
    with board.helper() as helper:
        for line, word in (("nvmap", "No such file"), ("emc", "No such file"), ("clocks lock", "no /usr/bin/jetson")):
            reply = helper.ask(line)
            assert not reply["ok"]
            assert word in reply["error"]


def test_clocks_are_locked_and_restored(board: Sandbox) -> None:
    """The clocks are locked while the helper runs, and restored when it exits."""
    with board.helper(user=True) as helper:
        assert helper.ask("clocks lock") == {"ok": True, "changed": True, "saved": True, "locked": True}
        assert clocks(board) == LOCKED
        assert board.file("/run/pytest-hil").stat().st_mode & 0o7777 == 0o700
    assert clocks(board) == FREE
    assert undo(board) == []


def test_a_signal_restores(board: Sandbox) -> None:
    """At SIGTERM, SIGHUP, SIGINT, SIGQUIT and SIGTSTP the helper restores the clocks and exits with 0."""
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGTSTP):
        with board.helper() as helper:
            helper.ask("clocks lock")
            assert clocks(board) == LOCKED
            helper.process.send_signal(number)
            assert helper.process.wait(20) == 0, number
        assert clocks(board) == FREE, number


@pytest.mark.parametrize("defaults", ["!use_pty", "use_pty"])
def test_a_killed_caller_restores(board: Sandbox, defaults: str) -> None:
    """If the agent's client is killed, the helper restores the clocks, with and without ``use_pty`` in sudoers."""
    board.place("/etc/sudoers.d/lab", f"Defaults {defaults}\n", 0o440)
    command = board.agent(CALLER)
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as caller:
        assert caller.stdout is not None
        assert "'locked': True" in caller.stdout.readline()
        assert clocks(board) == LOCKED
        caller.kill()
    assert board.wait_until(lambda: clocks(board) == FREE)


def test_a_caller_that_stops_reading_ends_the_helper(board: Sandbox) -> None:
    """The helper ends if its caller no longer reads, even if another process keeps its input open."""
    helper = board.helper()
    helper.ask("clocks lock")
    assert helper.process.stdout is not None
    helper.process.stdout.close()
    assert helper.process.wait(20) == 0
    assert clocks(board) == FREE
    for end in (helper.process.stdin, helper.process.stderr):
        assert end is not None
        end.close()


@pytest.mark.parametrize("line", ["nvmap", "version", "clocks lock"])
def test_the_next_helper_undoes_the_changes_of_a_killed_one(board: Sandbox, line: str) -> None:
    """Root, or the limit of a user's cgroup, can kill a helper. The next helper restores the board at its start."""
    killed = board.helper()
    killed.ask("clocks lock")
    killed.ask("service stop robot")
    killed.process.kill()
    killed.end()
    assert (clocks(board), unit(board, "robot")) == (LOCKED, "inactive")
    with board.helper(user=True) as helper:
        helper.ask("version")
        assert (clocks(board), unit(board, "robot")) == (FREE, "active")
        assert helper.ask(line)["ok"]
    assert clocks(board) == FREE
    assert undo(board) == []


def test_locked_clocks_are_never_saved_over(board: Sandbox) -> None:
    """A second lock keeps the state saved first, even if the clocks were unlocked in between."""
    with board.helper() as helper:
        helper.ask("clocks lock")
        assert helper.ask("clocks lock") == {"ok": True, "changed": False, "saved": True, "locked": True}
        board.fake("clocks").write_text("1000000\n")
        assert helper.ask("clocks lock")["changed"] is True
        assert board.calls.count(STORE) == 1
    assert clocks(board) == FREE


def test_clocks_that_were_already_locked_stay_locked(board: Sandbox) -> None:
    """Clocks that were locked before stay locked."""
    board.fake("clocks").write_text(LOCKED)
    with board.helper() as helper:
        assert helper.ask("clocks lock") == {"ok": True, "changed": False, "saved": False, "locked": True}
    assert clocks(board) == LOCKED
    assert STORE not in board.calls
    assert RESTORE not in board.calls


def test_the_last_of_several_restores(board: Sandbox) -> None:
    """With several helpers, the clocks stay locked until the last one exits."""
    with board.helper() as second:
        with board.helper(user=True) as first:
            assert first.ask("clocks lock")["changed"]
            assert second.ask("clocks lock")["changed"] is False
            assert "deferred" in first.ask("clocks restore")
        assert clocks(board) == LOCKED
    assert clocks(board) == FREE


def test_a_change_is_not_made_under_another_session(board: Sandbox) -> None:
    """A mode that another session relies on stays, and a service stopped for a measurement is not restarted."""
    with board.helper() as one, board.helper() as other:
        assert one.ask("mode MODE_30W")["changed"] is False
        assert "another session relies on mode MODE_30W" in other.ask("mode MAXN")["error"]
        one.ask("service stop robot")
        assert "stopped for a measurement" in other.ask("service restart robot")["error"]
        assert unit(board, "robot") == "inactive"
    assert not any("-m" in call for call in board.calls)


def test_a_restore_that_fails_is_tried_again_and_logged(board: Sandbox) -> None:
    """The helper tries twice to restore the clocks; then it records them for the next helper and undoes the rest."""
    fails = board.fake("fail-jetson_clocks")
    fails.write_text("--restore /run/pytest-hil/clocks\n")
    with board.helper() as helper:
        helper.ask("service stop robot")
        helper.ask("clocks lock")
    assert board.calls.count(RESTORE) == 2
    assert (clocks(board), unit(board, "robot"), undo(board)) == (LOCKED, "active", [["clocks"]])
    log = board.fake("log").read_text()
    assert "not restored (attempt 2): ['clocks']: jetson_clocks exited with code 3: it is broken" in log
    fails.unlink()
    with board.helper(user=True):
        pass
    assert (clocks(board), undo(board)) == (FREE, [])
    assert "restored: clocks" in board.fake("log").read_text()


def test_a_restore_that_fails_once_is_repeated(board: Sandbox) -> None:
    """If the second attempt to restore the clocks succeeds, no change is left recorded."""
    board.fake("fail-jetson_clocks").write_text("--restore /run/pytest-hil/clocks\n")
    board.fake("once").touch()
    with board.helper() as helper:
        helper.ask("clocks lock")
    assert (clocks(board), undo(board)) == (FREE, [])


def test_a_lock_that_fails_midway_is_undone(board: Sandbox) -> None:
    """A lock that fails midway is undone."""
    board.fake("fail-jetson_clocks").write_text("\n")
    with board.helper() as helper:
        assert "jetson_clocks exited with code 3" in helper.ask("clocks lock")["error"]
        assert undo(board) == [["clocks"]]
    assert RESTORE in board.calls


def test_clocks_that_cannot_be_saved_are_not_locked(board: Sandbox) -> None:
    """If saving the clocks fails, they are not changed."""
    board.fake("fail-jetson_clocks").write_text("--store /run/pytest-hil/clocks.new\n")
    with board.helper() as helper:
        assert not helper.ask("clocks lock")["ok"]
    assert "jetson_clocks " not in board.calls
    assert clocks(board) == FREE


def test_a_power_mode_is_set_and_restored(board: Sandbox) -> None:
    """The mode is set by name, setting it again changes nothing, and the earlier mode is restored."""
    with board.helper(user=True) as helper:
        assert helper.ask("mode MAXN") == {"ok": True, "changed": True, "mode": "MAXN", "before": "MODE_30W"}
        assert helper.ask("mode MAXN")["changed"] is False
        assert board.fake("mode").read_text() == "0\n"
    assert board.fake("mode").read_text() == "2\n"


def test_a_mode_that_requires_a_reboot_is_refused(board: Sandbox) -> None:
    """If the TPC masks differ, the refusal states the reason, and nvpmodel is not called."""
    with board.helper() as helper:
        error = helper.ask("mode 15W")["error"]
        assert "from mode MODE_30W to 15W" in error
        assert "'TPC_PG_MASK': '248'" in error
        assert "takes a reboot" in error
        assert "choose one of MAXN, 15W, MODE_30W" in helper.ask("mode 50W")["error"]
    assert not any("-m" in call for call in board.calls)


def test_a_mode_change_with_locked_clocks_is_refused(board: Sandbox) -> None:
    """A mode change is refused while clocks are locked."""
    with board.helper() as helper:
        helper.ask("clocks lock")
        assert "set the mode before locking" in helper.ask("mode MAXN")["error"]


def test_changes_are_undone_newest_first(board: Sandbox) -> None:
    """After changing service, mode and clocks, clocks are restored first, then the mode, then the service."""
    with board.helper() as helper:
        for line in ("service stop robot", "mode MAXN", "clocks lock"):
            assert helper.ask(line)["ok"]
        before = len(board.calls)
    words = ("--restore", "nvpmodel -m 2", "systemctl start -- robot.service")
    done = [word for call in board.calls[before:] for word in words if word in call]
    assert done == list(words)


def test_stopped_services_are_started_again(board: Sandbox) -> None:
    """Only services that ran are started again."""
    board.fake("units/camera.service").write_text("inactive\n")
    with board.helper(user=True) as helper:
        assert helper.ask("service stop robot") == {"ok": True, "changed": True}
        assert helper.ask("service stop robot") == {"ok": True, "changed": False}
        assert helper.ask("service stop camera.service")["error"]
        assert helper.ask("service stop camera") == {"ok": True, "changed": False}
        assert "restart it" in helper.ask("service start camera")["error"]
        assert helper.ask("service start robot") == {"ok": True, "changed": True}
        assert helper.ask("service restart robot") == {"ok": True, "changed": True, "running": True}
        helper.ask("service stop robot")
    assert (unit(board, "robot"), unit(board, "camera")) == ("active", "inactive")


def test_the_environment_of_programs(board: Sandbox) -> None:
    """Programs get a fixed environment and three descriptors, and the files they create are readable."""
    with board.helper() as helper:
        helper.ask("clocks show")
    environment = sorted(board.fake("env").read_text().splitlines())
    assert environment == ["HOME=/", "LC_ALL=C", "PATH=/usr/sbin:/usr/bin:/sbin:/bin", "PWD=/"]
    assert board.fake("umask").read_text() == "0022\n"
    assert set(board.fake("descriptors").read_text().split()) <= {
        "0",
        "1",
        "2",
        "10",
        "11",
    }  # the last two are the shell's own


@pytest.mark.parametrize("version", ["3.6", "3.7", "3.8", "3.9", "3.10", "3.11", "3.12", "3.13"])
def test_every_board_s_python_runs_it(board: Sandbox, version: str) -> None:
    """The helper runs on the Python of JetPack 4 and later."""
    interpreters = sorted(Path("~/.pyenv/versions").expanduser().glob(f"{version}.*/bin/python{version}"))
    if not interpreters:
        pytest.skip(f"python{version} is not installed")
    with HelperProcess((*board.into, str(interpreters[-1]), "-IS", PROGRAM)) as helper:
        assert helper.ask("version")["python"].startswith(f"{version}.")
        for line in ("clocks lock", "service stop robot", "nvmap", "emc", "drop_caches", "clocks restore"):
            assert helper.ask(line)["ok"]
        helper.ask("mode MAXN")
    assert (clocks(board), unit(board, "robot"), undo(board)) == (FREE, "active", [])


def test_the_sudoers_file_is_valid(board: Sandbox) -> None:
    """``visudo`` accepts the sudoers file, whose line allows the helper without arguments only."""
    assert board.run("/usr/sbin/visudo", "-c").returncode == 0
    assert SUDOERS.endswith('pytest-hil-helper ""\n')


def test_a_service_that_does_not_stop_is_refused(board: Sandbox) -> None:
    """A service that runs after ``systemctl stop`` is an error that names its state; a stopping one is waited for."""
    board.fake("stays").write_text("active\n")
    with board.helper() as helper:
        assert helper.ask("service stop robot")["error"] == "robot.service is active after it was stopped"
        board.fake("stays").write_text("deactivating\n")
        helper.send(b"service stop robot\n")
        assert board.wait_until(lambda: unit(board, "robot") == "deactivating")
        board.fake("units/robot.service").write_text("inactive\n")
        assert helper.answer() == {"ok": True, "changed": True}
        assert helper.ask("service show robot") == {"ok": True, "state": "inactive"}
        assert not helper.ask("service show sshd")["ok"]
        board.fake("stays").unlink()
    assert unit(board, "robot") == "active"


def test_restore_reports_failures(board: Sandbox) -> None:
    """If changes cannot be undone, ``restore`` lists each with the reason and the command that undoes it."""
    fails = board.fake("fail-jetson_clocks")
    fails.write_text("--restore /run/pytest-hil/clocks\n")
    with board.helper(user=True) as helper:
        for line in ("service stop robot", "clocks lock"):
            assert helper.ask(line)["ok"]
        (left,) = helper.ask("restore")["left"]
        assert left["what"] == "clocks"
        assert left["mend"] == "sudo jetson_clocks --restore /run/pytest-hil/clocks"
        assert "it is broken" in left["why"]
        assert unit(board, "robot") == "active"
        fails.unlink()
        assert helper.ask("restore") == {"ok": True, "left": [], "deferred": False}
    assert (clocks(board), undo(board)) == (FREE, [])


def test_restore_keeps_changes_that_another_helper_relies_on(board: Sandbox) -> None:
    """``restore`` returns ``deferred`` and keeps a change that another helper needs, until that helper restores it."""
    with board.helper() as second, board.helper(user=True) as first:
        assert first.ask("clocks lock")["changed"]
        assert second.ask("clocks lock")["ok"]
        assert first.ask("restore") == {"ok": True, "left": [], "deferred": True}
        assert clocks(board) == LOCKED
        assert second.ask("restore") == {"ok": True, "left": [], "deferred": False}
        assert clocks(board) == FREE
