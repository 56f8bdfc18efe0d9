"""The agent under the Python version of each JetPack, with the newest numpy and runtime that have wheels for it."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import hil.agent
from hil.config.spec import TargetSpec
from hil.targets.bundle import agent_archive
from hil.targets.target import open_target
from tests.agent import models

WHEELS = {
    "3.6": ("numpy==1.19.5", "onnxruntime==1.10.0"),
    "3.8": ("numpy==1.24.4", "onnxruntime==1.19.2"),
    "3.10": ("numpy", "onnxruntime"),
    "3.12": ("numpy", "onnxruntime"),
}
CHECKS = Path(__file__).parent / "under" / "checks.py"
CACHE = "HIL_INTERPRETERS"
"""Environment variable: a folder that keeps the interpreters' virtual environments between runs."""


def works(python: str, version: str) -> bool:
    """Return whether the interpreter starts and is that version; a pyenv shim may exist but fail."""
    code = "import sys; print('%d.%d' % sys.version_info[:2])"
    try:
        done = subprocess.run([python, "-c", code], capture_output=True, text=True, check=False, timeout=60)
    except OSError:
        return False
    return done.returncode == 0 and done.stdout.strip() == version


def find(version: str) -> str | None:
    """Return the interpreter on PATH or in pyenv; None if there is none."""
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    pythons = [shutil.which(f"python{version}"), *map(str, sorted(pyenv.glob(f"{version}.*/bin/python{version}")))]
    return next((python for python in pythons if python and works(python, version)), None)


def environment(python: str, version: str, folder: Path, wheels: tuple[str, ...] = ()) -> Path:
    """Return the interpreter of a virtual environment with ``wheels`` or the version's; it is created once."""
    wheels = wheels or WHEELS[version]
    folder.mkdir(parents=True, exist_ok=True)
    place = folder / f"python{version}"
    inside = place / "bin" / "python"
    with (folder / f"python{version}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (place / "ready").exists():
            shutil.rmtree(place, ignore_errors=True)
            for step in _steps(python, version, place, wheels):
                done = subprocess.run(step, capture_output=True, text=True, check=False)
                if done.returncode:
                    pytest.skip(f"{' and '.join(wheels)} cannot be installed: {done.stderr[-300:]}")
            (place / "ready").touch()
    return inside


def _steps(python: str, version: str, place: Path, wheels: tuple[str, ...]) -> list[list[str]]:
    """Return the commands that create the environment: wheels without dependencies, bytecode of what is imported."""
    options = ["-q", "--disable-pip-version-check", "--no-compile", "--no-deps", "--only-binary", ":all:"]
    site = str(place / "lib" / f"python{version}" / "site-packages")
    modules = ", ".join(wheel.partition("==")[0] for wheel in wheels)
    return [
        [python, "-m", "venv", "--without-pip", str(place)],
        [sys.executable, "-m", "pip", "install", *options, "--python-version", version, "--target", site, *wheels],
        [str(place / "bin" / "python"), "-c", f"import {modules}"],
    ]


@pytest.fixture(scope="module", params=list(WHEELS))
def interpreter(request: pytest.FixtureRequest) -> str:
    """Each available interpreter, in its own environment."""
    version = request.param
    python = find(version)
    if python is None:
        pytest.skip(f"python{version} is not installed")
    cache = os.environ.get(CACHE)
    folder = Path(cache) if cache else Path(request.config.cache.mkdir("hil-interpreters"))
    return str(environment(python, version, folder))


def test_the_agents_parts(interpreter: str, cache: Path, model: Path) -> None:
    """Every part of the agent works in a process of that interpreter."""
    archive, _ = agent_archive(cache / "pytest-hil" / "agents")
    modules = len(list(Path(hil.agent.__file__).parent.rglob("*.py"))) - 1  # the package itself is not listed
    settings = dict(os.environ, PYTHONPATH=str(archive), HIL_MODEL=str(model), HIL_MODULES=str(modules))
    command = [interpreter, "-B", "-W", "error::ResourceWarning", str(CHECKS)]
    done = subprocess.run(command, env=settings, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr


def test_end_to_end(interpreter: str, store: Path, model: Path) -> None:
    """The host builds, loads, runs, times and measures memory through an agent of each interpreter."""
    feed = {"x": np.linspace(-1, 1, 8, dtype=np.float32).reshape(2, 4)}
    with open_target("board", TargetSpec(store=str(store), python=interpreter)).start_agent() as agent:
        agent.hold("token", "tester")
        built = agent.build(agent.put_blob(model), "fp32", "onnxruntime", {}, 120)
        with agent.load(built.key, {"threads": 1}, 120) as worker:
            assert worker.first(feed) > 0
            [(name, value)] = worker.run(feed)
            timed = worker.time([feed], warmup=0.1, seconds=0.2, min_samples=20, max_samples=10**6)
            assert worker.memory().peak_rss > 1 << 20
    assert name == "y"
    np.testing.assert_allclose(value, np.maximum(feed["x"] @ models.WEIGHTS, 0), rtol=1e-5)
    assert timed.duration.size >= 20
    assert built.runtime_version == runtime_version(interpreter)


def runtime_version(python: str) -> str:
    """Return the version of ONNX Runtime that is installed in the interpreter's environment."""
    [metadata] = Path(python).parents[1].glob("lib/python3*/site-packages/onnxruntime-*.dist-info")
    return metadata.name.removeprefix("onnxruntime-").removesuffix(".dist-info")
