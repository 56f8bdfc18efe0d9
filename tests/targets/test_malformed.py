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


def liar(lie: str) -> AgentClient:
    """An agent that gives well-framed nonsense."""
    process = spawn([sys.executable, "-m", FAKE, DIGEST, lie], "board")
    return AgentClient(Link(LocalProcess(process, links.GREETING_PATIENCE), "board", 10.0), DIGEST)


@pytest.mark.parametrize("lie", ["hello-list", "error-number", "error-list"])
def test_a_greeting_that_is_none(lie: str) -> None:
    """A greeting of the wrong shape is the lab's error, and leaves nothing behind."""
    with pytest.raises(LabError, match=r"the agent's answer is malformed.*on target 'board'"):
        liar(lie)


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


@pytest.mark.parametrize(("lie", "call"), CALLS)
def test_an_answer_that_is_none(lie: str, call: Callable[[AgentClient, Path], Any], tmp_path: Path) -> None:
    """An answer that lacks something or lies ends the agent with one message, and never with a traceback."""
    path = tmp_path / "file"
    path.write_bytes(bytes(1000))
    with liar(lie) as agent:
        with pytest.raises(LabError, match=r"the agent's answer is malformed.*on target 'board'"):
            call(agent, path)
        with pytest.raises(LabError, match="malformed"):
            agent.probe()
        assert agent.uploaded == 0
    assert list(tmp_path.iterdir()) == [path]
    assert path.read_bytes() == bytes(1000)


def test_a_blob_is_as_large_as_its_engine(tmp_path: Path) -> None:
    """Neither more than was announced comes in, nor a piece beyond what was asked for."""
    with liar("short") as agent, pytest.raises(LabError, match="it has 10 bytes, not 11"):
        agent.get_blob(DIGEST, tmp_path / "file", 11)
    with liar("long") as agent, pytest.raises(LabError, match="answered with 3145728 bytes where 1048576 are the most"):
        agent.get_blob(DIGEST, tmp_path / "file", 1 << 20)
    assert not list(tmp_path.iterdir())
