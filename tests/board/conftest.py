from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING

import pytest

from tests.board.sandbox import Sandbox

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def bare() -> Iterator[Sandbox]:
    """A board without the helper."""
    for tool in ("sudo", "visudo", "unshare", "nsenter", "setpriv"):
        if shutil.which(tool) is None:
            pytest.skip(f"{tool} is missing: run apt-get install sudo util-linux")
    if os.geteuid() != 0:
        pytest.skip("creating a mount namespace needs root")
    sandbox = Sandbox()
    try:
        yield sandbox
    finally:
        sandbox.close()


@pytest.fixture
def board(bare: Sandbox) -> Sandbox:
    """A board with the helper and the services ``robot`` and ``camera``."""
    bare.install("robot", "camera")
    return bare
