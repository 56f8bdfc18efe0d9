from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import pytest

from hil.errors import LabError
from hil.targets import link as links
from hil.targets.client import AgentClient
from hil.targets.link import Link
from hil.targets.process import LocalProcess, spawn

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

FAKE = "tests.targets.fake_agent"
DIGEST = "0" * 64


def fake_agent(defect: str) -> AgentClient:
    """Return a client of a fake agent whose messages have the named defect."""
    process = spawn([sys.executable, "-m", FAKE, DIGEST, defect], "board")
    return AgentClient(Link(LocalProcess(process, links.GREETING_PATIENCE), "board", 10.0), DIGEST)


@pytest.mark.parametrize("defect", ["hello-list", "error-number", "error-list"])
def test_a_malformed_greeting(defect: str) -> None:
    """A malformed greeting is a lab error."""
    with pytest.raises(LabError, match=r"the agent's answer is malformed.*on target 'board'"):
        fake_agent(defect)


CALLS: list[tuple[str, Callable[[AgentClient, Path], Any]]] = [
    ("no-error", lambda agent, _: agent.probe()),
    ("arrays", lambda agent, _: agent.probe()),
    ("nothing", lambda agent, path: agent.put_blob(path)),
    ("negative", lambda agent, path: agent.put_blob(path)),
    ("beyond", lambda agent, path: agent.put_blob(path)),
    ("word", lambda agent, path: agent.put_blob(path)),
    ("nothing", lambda agent, _: agent.build(DIGEST, "fp32", "onnxruntime", {}, 5)),
    ("outside", lambda agent, _: agent.build(DIGEST, "fp32", "onnxruntime", {}, 5)),
    ("outside", lambda agent, _: agent.adopt(DIGEST, "fp32", "onnxruntime", {})),
    ("no-size", lambda agent, _: agent.build(DIGEST, "fp32", "onnxruntime", {}, 5)),
    ("nothing", lambda agent, _: agent.load(DIGEST, {}, 5)),
    ("huge", lambda agent, path: agent.get_blob(DIGEST, path)),
    ("nothing", lambda agent, path: agent.get_blob(DIGEST, path)),
    ("short", lambda agent, path: agent.get_blob(DIGEST, path)),
]


@pytest.mark.parametrize(("defect", "call"), CALLS)
def test_a_malformed_answer(defect: str, call: Callable[[AgentClient, Path], Any], tmp_path: Path) -> None:
    """A malformed answer ends the agent with one message, never with a traceback, and writes no file."""
    path = tmp_path / "file"
    path.write_bytes(bytes(1000))
    with fake_agent(defect) as agent:
        with pytest.raises(LabError, match=r"the agent's answer is malformed.*on target 'board'"):
            call(agent, path)
        with pytest.raises(LabError, match="malformed"):
            agent.probe()
        assert agent.uploaded == 0
    assert list(tmp_path.iterdir()) == [path]
    assert path.read_bytes() == bytes(1000)


def test_a_blob_of_the_wrong_size(tmp_path: Path) -> None:
    """A blob whose size differs from the expected one is refused, as is a piece longer than requested."""
    with fake_agent("short") as agent, pytest.raises(LabError, match="10 bytes instead of 11"):
        agent.get_blob(DIGEST, tmp_path / "file", 11)
    with (
        fake_agent("long") as agent,
        pytest.raises(LabError, match="answered with 3145728 bytes where at most 1048576 are allowed"),
    ):
        agent.get_blob(DIGEST, tmp_path / "file", 1 << 20)
    assert not list(tmp_path.iterdir())
