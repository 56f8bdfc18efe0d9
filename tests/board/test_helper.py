"""The helper at work: what it changes it changes back, however it ends."""

from __future__ import annotations

import json
import signal
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.board.sandbox import PROGRAM, SUDOERS, Talk

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
    """The lowest clock now."""
    return board.fake("clocks").read_text()


def unit(board: Sandbox, name: str) -> str:
    """What systemd says of it now."""
    return board.fake(f"units/{name}.service").read_text().strip()


def undo(board: Sandbox) -> list[list[object]]:
    """What is listed to be undone."""
    found: list[list[object]] = json.loads(board.file("/run/pytest-hil/undo").read_text())
    return found


@pytest.mark.parametrize("user", [False, True], ids=["root", "sudo"])
def test_reads(board: Sandbox, *, user: bool) -> None:
    """What only root may read is told, to root and to the user through sudo alike."""
    with board.helper(user=user) as helper:
        assert helper.ask("version")["ok"]
        assert helper.ask("nvmap")["text"].startswith("user python3 12 4096K")
        assert helper.ask("emc") == {"ok": True, "rate": 2133000000, "min_rate": 204000000, "max_rate": 3199000000}
        assert helper.ask("clocks show")["locked"] is False
        assert helper.ask("drop_caches") == {"ok": True}
    assert board.fake("drop_caches").read_text() == "3\n"


def test_what_is_not_there_is_told(board: Sandbox) -> None:
    """A board without NvMap or EMC in debugfs gives the reason, no zero."""
    board.run("/usr/bin/rm", "-r", "/sys/kernel/debug/nvmap", "/sys/kernel/debug/bpmp", "/usr/bin/jetson_clocks")
    with board.helper() as helper:
        for line, word in (("nvmap", "No such file"), ("emc", "No such file"), ("clocks lock", "no /usr/bin/jetson")):
            told = helper.ask(line)
            assert not told["ok"]
            assert word in told["error"]


def test_clocks_are_locked_and_restored(board: Sandbox) -> None:
    """Locked while it lives, as they were after."""
    with board.helper(user=True) as helper:
        assert helper.ask("clocks lock") == {"ok": True, "changed": True, "saved": True, "locked": True}
        assert clocks(board) == LOCKED
        assert board.file("/run/pytest-hil").stat().st_mode & 0o7777 == 0o700
    assert clocks(board) == FREE
    assert undo(board) == []


@pytest.mark.parametrize("ending", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGTSTP])
def test_a_signal_restores(board: Sandbox, ending: signal.Signals) -> None:
    """A signal ends it as the end of its input does."""
    with board.helper() as helper:
        helper.ask("clocks lock")
        helper.process.send_signal(ending)
        assert helper.process.wait(20) == 0
    assert clocks(board) == FREE


@pytest.mark.parametrize("defaults", ["!use_pty", "use_pty"])
def test_a_killed_caller_restores(board: Sandbox, defaults: str) -> None:
    """The agent's own client, as the user, through sudo with and without a terminal of its own, killed at once."""
    board.place("/etc/sudoers.d/lab", f"Defaults {defaults}\n", 0o440)
    command = board.agent(CALLER)
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as caller:
        assert caller.stdout is not None
        assert "'locked': True" in caller.stdout.readline()
        assert clocks(board) == LOCKED
        caller.kill()
    assert board.settled(lambda: clocks(board) == FREE)


def test_a_caller_who_reads_no_more_is_gone(board: Sandbox) -> None:
    """Somebody else may still have the writing end of its input open."""
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
def test_what_a_killed_helper_left_is_restored_by_the_next(board: Sandbox, line: str) -> None:
    """Root can kill it, and a user's own cgroup can; whoever starts the next one finds the board as it was."""
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
    """A second lock keeps the first saved state, also where somebody unlocked them in between."""
    with board.helper() as helper:
        helper.ask("clocks lock")
        assert helper.ask("clocks lock") == {"ok": True, "changed": False, "saved": True, "locked": True}
        board.fake("clocks").write_text("1000000\n")
        assert helper.ask("clocks lock")["changed"] is True
        assert board.calls.count(STORE) == 1
    assert clocks(board) == FREE


def test_clocks_that_somebody_else_locked_stay_locked(board: Sandbox) -> None:
    """Nothing was changed, so that nothing is restored."""
    board.fake("clocks").write_text(LOCKED)
    with board.helper() as helper:
        assert helper.ask("clocks lock") == {"ok": True, "changed": False, "saved": False, "locked": True}
    assert clocks(board) == LOCKED
    assert STORE not in board.calls
    assert RESTORE not in board.calls


def test_the_last_of_several_restores(board: Sandbox) -> None:
    """A session of several processes has several helpers; the first to end leaves the clocks to the others."""
    with board.helper() as second:
        with board.helper(user=True) as first:
            assert first.ask("clocks lock")["changed"]
            assert second.ask("clocks lock")["changed"] is False
            assert "deferred" in first.ask("clocks restore")
        assert clocks(board) == LOCKED
    assert clocks(board) == FREE


def test_a_change_is_not_made_under_another_session(board: Sandbox) -> None:
    """A mode that somebody relies on stays; a service stopped for a measurement is not restarted meanwhile."""
    with board.helper() as one, board.helper() as other:
        assert one.ask("mode MODE_30W")["changed"] is False
        assert "another session relies on mode MODE_30W" in other.ask("mode MAXN")["error"]
        one.ask("service stop robot")
        assert "stopped for a measurement" in other.ask("service restart robot")["error"]
        assert unit(board, "robot") == "inactive"
    assert not any("-m" in call for call in board.calls)


def test_a_restore_that_fails_is_tried_again_and_logged(board: Sandbox) -> None:
    """Twice at the end; then it stays listed for the next helper, and the other changes are undone all the same."""
    fails = board.fake("fail-jetson_clocks")
    fails.write_text("--restore /run/pytest-hil/clocks\n")
    with board.helper() as helper:
        helper.ask("service stop robot")
        helper.ask("clocks lock")
    assert board.calls.count(RESTORE) == 2
    assert (clocks(board), unit(board, "robot"), undo(board)) == (LOCKED, "active", [["clocks"]])
    log = board.fake("log").read_text()
    assert "not restored (attempt 2): ['clocks']: jetson_clocks ended with 3: it is broken" in log
    fails.unlink()
    with board.helper(user=True):
        pass
    assert (clocks(board), undo(board)) == (FREE, [])
    assert "restored: clocks" in board.fake("log").read_text()


def test_a_restore_that_fails_once_is_mended(board: Sandbox) -> None:
    """The second attempt counts."""
    board.fake("fail-jetson_clocks").write_text("--restore /run/pytest-hil/clocks\n")
    board.fake("once").touch()
    with board.helper() as helper:
        helper.ask("clocks lock")
    assert (clocks(board), undo(board)) == (FREE, [])


def test_a_lock_that_fails_half_way_is_restored(board: Sandbox) -> None:
    """It is listed before it is done."""
    board.fake("fail-jetson_clocks").write_text("\n")
    with board.helper() as helper:
        assert "jetson_clocks ended with 3" in helper.ask("clocks lock")["error"]
        assert undo(board) == [["clocks"]]
    assert RESTORE in board.calls


def test_nothing_is_locked_that_was_not_saved(board: Sandbox) -> None:
    """Without a way back there is no way."""
    board.fake("fail-jetson_clocks").write_text("--store /run/pytest-hil/clocks.new\n")
    with board.helper() as helper:
        assert not helper.ask("clocks lock")["ok"]
    assert "jetson_clocks " not in board.calls
    assert clocks(board) == FREE


def test_a_power_mode_is_set_and_restored(board: Sandbox) -> None:
    """By name; the one in force before comes back, and setting it again changes nothing."""
    with board.helper(user=True) as helper:
        assert helper.ask("mode MAXN") == {"ok": True, "changed": True, "mode": "MAXN", "before": "MODE_30W"}
        assert helper.ask("mode MAXN")["changed"] is False
        assert board.fake("mode").read_text() == "0\n"
    assert board.fake("mode").read_text() == "2\n"


def test_a_mode_that_takes_a_reboot_is_refused(board: Sandbox) -> None:
    """TPC masks that differ, with the reason; nothing is tried."""
    with board.helper() as helper:
        error = helper.ask("mode 15W")["error"]
        assert "from mode MODE_30W to 15W" in error
        assert "'TPC_PG_MASK': '248'" in error
        assert "takes a reboot" in error
        assert "there is MAXN, 15W, MODE_30W" in helper.ask("mode 50W")["error"]
    assert not any("-m" in call for call in board.calls)


def test_a_mode_under_locked_clocks_is_refused(board: Sandbox) -> None:
    """Clocks are locked within a mode, and restored within it."""
    with board.helper() as helper:
        helper.ask("clocks lock")
        assert "ask for the mode first" in helper.ask("mode MAXN")["error"]


def test_changes_are_undone_newest_first(board: Sandbox) -> None:
    """Service, mode, clocks: clocks, mode, service."""
    with board.helper() as helper:
        for line in ("service stop robot", "mode MAXN", "clocks lock"):
            assert helper.ask(line)["ok"]
        before = len(board.calls)
    words = ("--restore", "nvpmodel -m 2", "systemctl start -- robot.service")
    done = [word for call in board.calls[before:] for word in words if word in call]
    assert done == list(words)


def test_services_come_back(board: Sandbox) -> None:
    """Those that ran, and those alone; a start is for what was stopped, a restart for a deployment."""
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


def test_what_programs_are_given(board: Sandbox) -> None:
    """A fixed environment, three descriptors, and files of theirs that stay readable."""
    with board.helper() as helper:
        helper.ask("clocks show")
    given = sorted(board.fake("env").read_text().splitlines())
    assert given == ["HOME=/", "LC_ALL=C", "PATH=/usr/sbin:/usr/bin:/sbin:/bin", "PWD=/"]
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
    """From JetPack 4's on."""
    found = sorted(Path("~/.pyenv/versions").expanduser().glob(f"{version}.*/bin/python{version}"))
    if not found:
        pytest.skip(f"python {version} is not there")
    with Talk((*board.into, str(found[-1]), "-IS", PROGRAM)) as helper:
        assert helper.ask("version")["python"].startswith(f"{version}.")
        for line in ("clocks lock", "service stop robot", "nvmap", "emc", "drop_caches", "clocks restore"):
            assert helper.ask(line)["ok"]
        helper.ask("mode MAXN")
    assert (clocks(board), unit(board, "robot"), undo(board)) == (FREE, "active", [])


def test_the_line_for_sudo_is_valid(board: Sandbox) -> None:
    """As the tests install it, and so as ``setup`` writes it."""
    assert board.run("/usr/sbin/visudo", "-c").returncode == 0
    assert SUDOERS.endswith('pytest-hil-helper ""\n')


def test_a_service_that_does_not_stop_is_refused(board: Sandbox) -> None:
    """``systemctl stop`` succeeded and the unit runs on: an error with its state; one that is ending is waited for."""
    board.fake("stays").write_text("active\n")
    with board.helper() as helper:
        assert helper.ask("service stop robot")["error"] == "robot.service is active after it was stopped"
        board.fake("stays").write_text("deactivating\n")
        helper.send(b"service stop robot\n")
        assert board.settled(lambda: unit(board, "robot") == "deactivating")
        board.fake("units/robot.service").write_text("inactive\n")
        assert helper.answer() == {"ok": True, "changed": True}
        assert helper.ask("service show robot") == {"ok": True, "state": "inactive"}
        assert not helper.ask("service show sshd")["ok"]
        board.fake("stays").unlink()
    assert unit(board, "robot") == "active"


def test_the_result_of_restoring_is_told(board: Sandbox) -> None:
    """What could not be undone, why, and the command that does it; a second restore has nothing left to do."""
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


def test_restoring_leaves_what_another_relies_on(board: Sandbox) -> None:
    """And says so; the other's own restore does it."""
    with board.helper() as second, board.helper(user=True) as first:
        assert first.ask("clocks lock")["changed"]
        assert second.ask("clocks lock")["ok"]
        assert first.ask("restore") == {"ok": True, "left": [], "deferred": True}
        assert clocks(board) == LOCKED
        assert second.ask("restore") == {"ok": True, "left": [], "deferred": False}
        assert clocks(board) == FREE
