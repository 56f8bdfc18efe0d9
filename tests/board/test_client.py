"""The agent's side: it asks the helper where it may, says why where not, and never waits without an end."""

from __future__ import annotations

import json
import os
import subprocess
from typing import TYPE_CHECKING, Any

import pytest

from hil.agent.machine import device_memory
from hil.agent.machine.root_helper import PROGRAM as ASKED_FOR
from hil.agent.machine.root_helper import VERSION as KNOWN
from hil.board import as_root, helper
from tests.board.sandbox import PROGRAM, SOURCE

if TYPE_CHECKING:
    from tests.board.sandbox import Sandbox

OPEN = """
import json
from agent.machine.root_helper import Helper
helper = Helper.open()
told = {"opened": helper is not None, "why_not": Helper.why_not}
"""
TELL = """
if helper is not None:
    helper.close()
print(json.dumps(told))
"""
MEMORY = """
import json
from agent.machine.device_memory import DeviceMemory, Watch
from agent.machine.root_helper import Helper
watch = Watch(DeviceMemory(None, unified=True, sys_root="/sys", proc_root="/proc", open_helper=%s))
watch.follow(12)
print("following", flush=True)
input()
watch.baseline()
print(json.dumps(watch.report()))
"""


def run(board: Sandbox, script: str) -> Any:
    """What a script of the agent's tells, as the user, with no terminal and nothing to read."""
    done = subprocess.run(board.agent(script), capture_output=True, text=True, check=False, timeout=60, input="")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def ask(board: Sandbox, *calls: str) -> Any:
    """Answers of one helper to Python calls."""
    body = f"told['answers'] = [{', '.join(calls)}] if helper else None"
    return run(board, OPEN + body + TELL)


def test_both_sides_mean_the_same_program() -> None:
    """Path and version are written in several files, as none may import another."""
    assert ASKED_FOR == as_root.PROGRAM == PROGRAM
    assert (KNOWN, helper.STATE, helper.SERVICES) == (helper.VERSION, as_root.STATE, as_root.SERVICES)


def test_it_is_opened_asked_and_closed(board: Sandbox) -> None:
    """Answers are the helper's; closing restores before it returns."""
    told = ask(board, "helper.ask('clocks', 'lock')", "helper.ask('service', 'stop', 'robot')", "helper.ask('nvmap')")
    assert (told["opened"], told["why_not"]) == (True, "")
    assert [answer["ok"] for answer in told["answers"]] == [True] * 3
    assert board.fake("clocks").read_text() == "729600\n"
    assert board.fake("units/robot.service").read_text() == "active\n"


def test_without_a_setup_it_says_so(bare: Sandbox) -> None:
    """The command that mends it."""
    told = ask(bare)
    assert told["opened"] is False
    assert "hil board setup" in told["why_not"]


@pytest.mark.parametrize("how", ["mode", "owner", "folder", "link"])
def test_a_program_that_others_can_change_is_not_started(board: Sandbox, how: str) -> None:
    """Even where sudo allows it."""
    program = board.file(PROGRAM)
    if how == "mode":
        program.chmod(0o757)
    elif how == "owner":
        os.chown(program, 4711, 4711)
    elif how == "folder":
        program.parent.chmod(0o777)
    else:
        board.run("/usr/bin/mv", PROGRAM, f"{PROGRAM}.real").check_returncode()
        board.run("/usr/bin/ln", "-s", f"{PROGRAM}.real", PROGRAM).check_returncode()
    assert "can be changed by others than root" in ask(board)["why_not"]
    assert board.calls == []


def test_sudo_s_refusal_is_told_and_nobody_is_asked(board: Sandbox) -> None:
    """Without the line for sudo there is no prompt to wait at."""
    board.file("/etc/sudoers.d/pytest-hil").unlink()
    assert "a password is required" in ask(board)["why_not"]


def test_another_version_is_not_used(board: Sandbox) -> None:
    """What an older helper does is not what this agent expects."""
    text = SOURCE.read_text(encoding="ascii").replace("VERSION = 2\n", "VERSION = 0\n")
    board.place(PROGRAM, text, 0o755)
    assert "version 0, not 2" in ask(board)["why_not"]


def test_its_refusals_come_as_answers(board: Sandbox) -> None:
    """Nothing is raised, whatever is asked; a word with a newline is not two lines."""
    calls = ("helper.ask('mode', '15W')", "helper.ask('version', 'x\\nclocks lock')", "helper.ask('\\u00e9')")
    told = ask(board, *calls, "helper.ask('version')")
    assert [answer["ok"] for answer in told["answers"]] == [False, False, False, True]
    assert "takes a reboot" in told["answers"][0]["error"]
    assert not any("jetson_clocks" in call for call in board.calls)


def test_a_late_answer_is_not_waited_for(board: Sandbox) -> None:
    """The deadline holds, the agent may do its own work meanwhile, and the helper is not asked again."""
    board.fake("slow").write_text("2")
    script = """
import agent.machine.root_helper
agent.machine.root_helper.LIMITS["clocks"] = 0.7
beats = []
helper.waiting = lambda: beats.append(1)
told["answers"] = [helper.ask("clocks", "show"), helper.ask("version")]
told["beats"] = len(beats)
"""
    told = run(board, OPEN + script + TELL)
    assert "no answer in time" in told["answers"][0]["error"]
    assert "is lost" in told["answers"][1]["error"]
    assert told["beats"] >= 2


@pytest.mark.parametrize("allowed", [True, False])
def test_nvmap_is_read_through_it_where_debugfs_is_closed(board: Sandbox, *, allowed: bool) -> None:
    """By process, and labelled so; without the helper the machine's difference, labelled so."""
    clients = "/sys/kernel/debug/nvmap/iovmm/clients"
    board.place(clients, "total 0K\n")
    opener = "Helper.open" if allowed else "lambda: None"
    command = board.agent(MEMORY % opener)
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "following\n"
        board.place(clients, "user python3 12 4096K\ntotal 4096K\n")
        told = json.loads(process.communicate("\n", timeout=60)[0])
    assert (told["source"] == device_memory.BY_HELPER) is allowed
    if allowed:
        assert (told["baseline"], told["peak"], told["includes_host"]) == (4096 * 1024, 4096 * 1024, False)
    else:
        assert told["source"] == device_memory.BY_MACHINE
