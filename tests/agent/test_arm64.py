"""The agent on an arm64 userland, under qemu-user: instructions and wheels of a board, this machine's kernel."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import onnxruntime
import pytest

from hil.targets.bundle import agent_archive
from hil.targets.start_agent import start
from tests.agent import arm64
from tests.agent.test_interpreters import CACHE

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hil.targets.client import AgentClient

DIGITS = Path("examples/digits")
IMPORTS = """
import importlib, pkgutil, platform, hil_agent
names = [one.name for one in pkgutil.walk_packages(hil_agent.__path__, "hil_agent.") if "__main__" not in one.name]
for name in names:
    importlib.import_module(name)
print(platform.machine(), len(names))
"""


@pytest.fixture(scope="module")
def root(request: pytest.FixtureRequest) -> Iterator[Path]:
    """An arm64 userland that can be run."""
    given = os.environ.get(CACHE)
    made = arm64.userland(Path(given) if given else Path(request.config.cache.mkdir("hil-interpreters")))
    for _ in arm64.emulated():
        yield made


@pytest.fixture
def there(root: Path, tmp_path: Path) -> Iterator[AgentClient]:
    """An agent there that holds its target."""
    archive, digest = agent_archive(tmp_path)
    words = ("/usr/bin/python3", f"/mnt/{archive.name}", "--store", "/mnt/store")
    with start(arm64.within(root, tmp_path, *words), "arm64", digest) as agent:
        agent.hold("token", "tester")
        yield agent


def test_every_module_is_imported(root: Path, tmp_path: Path, repository: Path) -> None:
    """No module of the agent needs what that architecture, or a Debian beside it, has not."""
    archive, _ = agent_archive(tmp_path)
    words = ("PYTHONPATH=/mnt/" + archive.name + ":/" + arm64.SITE, "/usr/bin/python3", "-c", IMPORTS)
    command = arm64.within(root, tmp_path, *words)
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    modules = [path for path in (repository / "hil/agent").rglob("*.py") if path.name != "__main__.py"]
    assert done.stdout.split() == ["aarch64", str(len(modules) - 1)], done.stderr  # hil_agent itself is not walked


def test_it_is_told_apart(there: AgentClient) -> None:
    """What the probe tells is that architecture's: machine, and the versions of its own wheels."""
    facts = there.probe()
    assert facts["machine"] == "aarch64"
    assert facts["runtimes"]["onnxruntime"] == arm64.WHEELS[1].split("==")[1]


def test_digits_are_the_same_there(there: AgentClient, repository: Path) -> None:
    """Arrays come back bit by bit; built, loaded and run there, the model gives what it gives here."""
    model, images = repository / DIGITS / "model.onnx", np.load(repository / DIGITS / "validation.npz")
    here = onnxruntime.InferenceSession(str(model), providers=["CPUExecutionProvider"])
    name = here.get_inputs()[0].name
    feeds = [{name: images[name][at : at + 1]} for at in range(32)]
    built = there.build(there.put_blob(model), "fp32", "onnxruntime", {}, 300)
    with there.load(built.key, {"threads": 1}, 300) as worker:
        for key, value in (("ints", np.arange(7, dtype=np.int8)), ("image", feeds[0][name])):
            [(back, echoed)] = worker.echo({key: value})
            assert back == key
            assert echoed.dtype == value.dtype
            np.testing.assert_array_equal(echoed, value)
        found = np.concatenate([worker.run(feed, 120)[0][1] for feed in feeds])
        assert worker.memory().peak_rss > 1 << 20
    wanted = np.concatenate([here.run(None, feed)[0] for feed in feeds])
    np.testing.assert_allclose(found, wanted, rtol=1e-3, atol=1e-4)
    np.testing.assert_array_equal(found.argmax(1), wanted.argmax(1))
