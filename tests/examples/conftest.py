"""The oldest interpreter and runtime that a board may have."""

from __future__ import annotations

import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

PINS = ("numpy==1.19.5", "onnxruntime==1.10.0")
"""The last releases for Python 3.6."""


@pytest.fixture(scope="session")
def old_python(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Return a Python 3.6 in a new environment with numpy and ONNX Runtime 1.10."""
    python = shutil.which("python3.6")
    # A version manager's stub is on the path, but fails when started.
    if python is None or subprocess.run([python, "-c", ""], capture_output=True, check=False).returncode:
        pytest.skip("python3.6 is not installed")
    folder: Path = tmp_path_factory.mktemp("python36")
    subprocess.run([python, "-m", "venv", str(folder)], check=True)
    # The pip bundled with Python 3.6 does not support manylinux2014 wheels.
    for packages in (("pip==21.3.1",), PINS):
        command = [str(folder / "bin" / "python"), "-m", "pip", "install", "--quiet", *packages]
        subprocess.run(command, capture_output=True, check=True)
    return str(folder / "bin" / "python")
