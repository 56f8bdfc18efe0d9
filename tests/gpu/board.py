"""A project whose target is this machine's GPU, and sessions on it as in a real run."""

from __future__ import annotations

import json
import secrets
from typing import TYPE_CHECKING

import numpy as np

from hil.config.load import load
from hil.config.spec import TargetSpec
from hil.plan import expand
from hil.session import Request, Session
from tests import models

if TYPE_CHECKING:
    from pathlib import Path

    from hil.results import CheckResult

HEAD = """
[targets.gpu]
runtime = "tensorrt"
python  = {python}
store   = {store}
{board}
[measure]
duration = "3 s"
warmup   = "0.2 s"
budget   = "4 s"
soak     = 2000

[gate]
require = ["parity.outputs"]
"""

NET = """
[models.net]
path = "net.onnx"
data = "validation.npz"
"""

LARGE_SIDE = 4096
LARGE_CHANNELS = 64
LARGE_BYTES = 4 * LARGE_CHANNELS * LARGE_SIDE**2
"""Size of one activation of ``large``: 4 GiB."""


def spec(python: str, store: Path) -> TargetSpec:
    """Return the target without a project."""
    return TargetSpec.model_validate({"runtime": "tensorrt", "python": python, "store": str(store)})


def images(count: int, seed: int) -> np.ndarray:
    """Return inputs of ``net``: float32, shape (count, 2, 6, 6)."""
    return models.images(count, seed)


class Board:
    """A folder with a small network, its data and a ``hil.toml`` for the GPU.

    ``session`` opens a session with ``net`` and the models that a test adds to the config; ``ask`` judges one check of
    one of these models.
    """

    def __init__(self, root: Path, python: str, store: Path) -> None:
        self.root, self.python, self.store = root, python, store
        self._sessions: list[Session] = []
        models.convnet(root / "net.onnx", batch=1)
        np.savez(root / "validation.npz", image=images(32, 3))
        np.savez(root / "calibration.npz", image=images(64, 4))

    def write(self, tables: str = "", board: str = "") -> Path:
        """Write ``hil.toml`` with ``net`` and the given tables; return its path."""
        path = self.root / "hil.toml"
        head = HEAD.format(python=json.dumps(self.python), store=json.dumps(str(self.store)), board=board)
        path.write_text(head + NET + tables, encoding="utf-8")
        return path

    def session(self, tables: str = "") -> Session:
        """Return a session on the GPU that allows no fallback."""
        config = load(self.write(tables))
        run = Request(config, "gpu", "fail", 60.0, secrets.token_hex(8), self.root / "report", print)
        session = Session.open(run)
        self._sessions.append(session)
        return session

    def ask(self, session: Session, check: str, model: str = "net", precision: str = "fp32") -> CheckResult:
        """Return the result of one row, with or without a limit."""
        plan = expand(session.config, "gpu")
        (row,) = [row for row in plan.of(check) if (row.model, row.precision) == (model, precision)]
        return session.judge(row).result

    def close(self) -> None:
        """End all sessions."""
        while self._sessions:
            self._sessions.pop().close()
