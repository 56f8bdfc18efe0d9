"""The oldest interpreter and runtime that a board may have."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.agent.test_interpreters import environment, find
from tests.boards.conftest import environments

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["environments"]


@pytest.fixture(scope="session")
def old_python(environments: Path) -> str:
    """Return a Python 3.6 with numpy 1.19 and ONNX Runtime 1.10, in the environment of the agent's tests."""
    python = find("3.6")
    if python is None:
        pytest.skip("python3.6 is not installed")
    return str(environment(python, "3.6", environments))
