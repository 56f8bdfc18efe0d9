"""The agent's client of the helper: it reports why the helper is unavailable, and every wait has a limit."""

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
result = {"opened": helper is not None, "why_not": Helper.why_not}
"""
PRINT = """
if helper is not None:
    helper.close()
print(json.dumps(result))
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
    """Run a script of the agent as the user, without terminal and input; return what it prints as JSON."""
    done = subprocess.run(board.agent(script), capture_output=True, text=True, check=False, timeout=60, input="")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def ask(board: Sandbox, *calls: str) -> Any:
    """Return the result of calling the client in Python, each call to the same helper."""
    body = f"result['answers'] = [{', '.join(calls)}] if helper else None"
    return run(board, OPEN + body + PRINT)


def test_client_and_helper_agree_on_path_and_version() -> None:
    """Client, helper and installer have the same path, version and folders of the helper."""
    assert ASKED_FOR == as_root.PROGRAM == PROGRAM
    assert (KNOWN, helper.STATE, helper.SERVICES) == (helper.VERSION, as_root.STATE, as_root.SERVICES)


def test_the_helper_is_opened_used_and_closed(board: Sandbox) -> None:
    """The client returns the helper's answers, and closing it waits until all changes are undone."""
    result = ask(board, "helper.ask('clocks', 'lock')", "helper.ask('service', 'stop', 'robot')", "helper.ask('nvmap')")
    assert (result["opened"], result["why_not"]) == (True, "")
    assert [answer["ok"] for answer in result["answers"]] == [True] * 3
    assert board.fake("clocks").read_text() == "729600\n"
    assert board.fake("units/robot.service").read_text() == "active\n"


def test_without_the_helper_the_setup_command_is_named(bare: Sandbox) -> None:
    """Without the helper, the reason names ``hil board setup``."""
    result = ask(bare)
    assert result["opened"] is False
    assert "hil board setup" in result["why_not"]


@pytest.mark.parametrize("how", ["mode", "owner", "folder", "link"])
def test_a_program_that_others_can_change_is_not_started(board: Sandbox, how: str) -> None:
    """The client does not start a helper that other users can change, even if sudo allows it."""
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
    assert "can be changed by users other than root" in ask(board)["why_not"]
    assert board.calls == []


def test_sudos_refusal_is_reported_without_a_prompt(board: Sandbox) -> None:
    """Without the sudoers file, sudo fails at once and asks for no password."""
    board.file("/etc/sudoers.d/pytest-hil").unlink()
    assert "a password is required" in ask(board)["why_not"]


def test_another_version_is_not_used(board: Sandbox) -> None:
    """A helper of another version is not used."""
    text = SOURCE.read_text(encoding="ascii").replace("VERSION = 2\n", "VERSION = 0\n")
    board.place(PROGRAM, text, 0o755)
    assert "version 0, not 2" in ask(board)["why_not"]


def test_refusals_are_answers_not_exceptions(board: Sandbox) -> None:
    """Invalid requests raise nothing, and a word with a newline is not sent as two lines."""
    calls = ("helper.ask('mode', '15W')", "helper.ask('version', 'x\\nclocks lock')", "helper.ask('\\u00e9')")
    result = ask(board, *calls, "helper.ask('version')")
    assert [answer["ok"] for answer in result["answers"]] == [False, False, False, True]
    assert "takes a reboot" in result["answers"][0]["error"]
    assert not any("jetson_clocks" in call for call in board.calls)


def test_a_late_answer_is_an_error(board: Sandbox) -> None:
    """A late answer is an error; the agent can work while it waits, and the next request fails at once."""
    board.fake("slow").write_text("2")
    script = """
import agent.machine.root_helper
agent.machine.root_helper.LIMITS["clocks"] = 0.7
beats = []
helper.waiting = lambda: beats.append(1)
result["answers"] = [helper.ask("clocks", "show"), helper.ask("version")]
result["beats"] = len(beats)
"""
    result = run(board, OPEN + script + PRINT)
    assert "no answer in time" in result["answers"][0]["error"]
    assert "is lost" in result["answers"][1]["error"]
    assert result["beats"] >= 2


@pytest.mark.parametrize("allowed", [True, False])
def test_nvmap_is_read_through_the_helper(board: Sandbox, *, allowed: bool) -> None:
    """With the helper, GPU memory is measured by process; without it, by the machine's used memory."""
    clients = "/sys/kernel/debug/nvmap/iovmm/clients"
    board.place(clients, "total 0K\n")
    opener = "Helper.open" if allowed else "lambda: None"
    command = board.agent(MEMORY % opener)
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "following\n"
        board.place(clients, "user python3 12 4096K\ntotal 4096K\n")
        result = json.loads(process.communicate("\n", timeout=60)[0])
    assert (result["source"] == device_memory.BY_HELPER) is allowed
    if allowed:
        assert (result["baseline"], result["peak"], result["includes_host"]) == (4096 * 1024, 4096 * 1024, False)
    else:
        assert result["source"] == device_memory.BY_MACHINE
