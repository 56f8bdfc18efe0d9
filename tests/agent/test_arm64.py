"""The agent in an arm64 root file system under qemu-user: a board's instructions and wheels, this machine's kernel."""

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
from tests.agent.conftest import load
from tests.agent.test_interpreters import CACHE

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hil.targets.client import AgentClient

DIGITS = Path("examples/digits")
IMPORTS = """
import importlib, pkgutil, platform, hil_agent
modules = pkgutil.walk_packages(hil_agent.__path__, "hil_agent.")
names = [module.name for module in modules if "__main__" not in module.name]
for name in names:
    importlib.import_module(name)
print(platform.machine(), len(names))
"""


@pytest.fixture(scope="module")
def root(request: pytest.FixtureRequest) -> Iterator[Path]:
    """An arm64 root file system that can run."""
    cache = os.environ.get(CACHE)
    userland = arm64.userland(Path(cache) if cache else Path(request.config.cache.mkdir("hil-interpreters")))
    for _ in arm64.register_emulator():
        yield userland


def test_every_module_is_imported(root: Path, tmp_path: Path, repository: Path) -> None:
    """Every module of the agent can be imported on arm64 with Debian's packages."""
    archive, _ = agent_archive(tmp_path)
    words = ("PYTHONPATH=/mnt/" + archive.name + ":/" + arm64.SITE, "/usr/bin/python3", "-c", IMPORTS)
    command = arm64.command_in(root, tmp_path, *words)
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    modules = [path for path in (repository / "hil/agent").rglob("*.py") if path.name != "__main__.py"]
    assert done.stdout.split() == ["aarch64", str(len(modules) - 1)], done.stderr  # hil_agent itself is not walked


def test_an_agent_on_arm64(root: Path, tmp_path: Path, repository: Path) -> None:
    """The probe reports arm64 and its own wheels; arrays arrive bit for bit, and outputs equal this machine's."""
    archive, digest = agent_archive(tmp_path)
    words = ("/usr/bin/python3", f"/mnt/{archive.name}", "--store", "/mnt/store")
    with start(arm64.command_in(root, tmp_path, *words), "arm64", digest) as agent:
        agent.hold("token", "tester")
        facts = agent.probe()
        assert facts["machine"] == "aarch64"
        assert facts["runtimes"]["onnxruntime"] == arm64.WHEELS[1].split("==")[1]
        check_outputs(agent, repository / DIGITS)


def check_outputs(agent: AgentClient, example: Path) -> None:
    """Check that arrays arrive bit for bit, and that the example's model gives the same outputs as on this machine."""
    model, images = example / "model.onnx", np.load(example / "validation.npz")
    local = onnxruntime.InferenceSession(str(model), providers=["CPUExecutionProvider"])
    name = local.get_inputs()[0].name
    feeds = [{name: images[name][at : at + 1]} for at in range(16)]
    with load(agent, model, 300) as worker:
        for key, value in (("ints", np.arange(7, dtype=np.int8)), ("image", feeds[0][name])):
            [(back, echoed)] = worker.echo({key: value})
            assert back == key
            assert echoed.dtype == value.dtype
            np.testing.assert_array_equal(echoed, value)
        outputs = np.concatenate([worker.run(feed, 120)[0][1] for feed in feeds])
        assert worker.memory().peak_rss > 1 << 20
    expected = np.concatenate([local.run(None, feed)[0] for feed in feeds])
    np.testing.assert_allclose(outputs, expected, rtol=1e-3, atol=1e-4)
    np.testing.assert_array_equal(outputs.argmax(1), expected.argmax(1))
