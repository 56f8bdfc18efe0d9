"""The agent's TensorRT and CUDA modules without TensorRT; ``under/checks.py`` tests them on each JetPack's Python."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from hil.agent.runtimes.tensorrt import TensorRt
from hil.targets.bundle import agent_archive
from tests.agent.test_interpreters import CACHE, environment, find

NEWEST = "3.13"
CODE = """
import importlib, pkgutil, sys
for package in ("tensorrt", "cuda"):
    parent = importlib.import_module("hil_agent.runtimes." + package)
    for module in pkgutil.iter_modules(parent.__path__):
        importlib.import_module(parent.__name__ + "." + module.name)
assert not {"tensorrt", "pycuda"} & set(sys.modules), "a runtime was imported"
from hil_agent.runtimes import runtime
gpu = runtime("tensorrt")
assert gpu.version() is None
print(gpu.reason_why())
"""


def test_modules_import_on_the_newest_python(cache: Path, request: pytest.FixtureRequest) -> None:
    """Every module imports on a Python newer than any JetPack's; the runtime then has no version, and a reason."""
    python = find(NEWEST)
    if python is None:
        pytest.skip(f"python{NEWEST} is not installed")
    cache_folder = os.environ.get(CACHE)
    folder = Path(cache_folder) if cache_folder else Path(request.config.cache.mkdir("hil-interpreters"))
    inside = environment(python, NEWEST, folder, ("numpy",))
    settings = dict(os.environ, PYTHONPATH=str(agent_archive(cache / "pytest-hil" / "agents")[0]))
    done = subprocess.run(
        [str(inside), "-B", "-c", CODE], env=settings, capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stderr
    assert "tensorrt" in done.stdout


def test_a_folder_named_tensorrt_is_not_tensorrt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder ``tensorrt`` on the path imports as an empty namespace: it has no version, and a reason."""
    (tmp_path / "tensorrt").mkdir()
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "tensorrt", raising=False)
    runtime = TensorRt()
    try:
        assert runtime.version() is None
        assert "__version__" in str(runtime.reason_why())
    finally:
        sys.modules.pop("tensorrt", None)
