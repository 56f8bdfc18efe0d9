"""A project whose target is this machine's GPU, and sessions on it, as a run would have them."""

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
soak     = 400

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
"""What one activation of ``large`` takes: 4 GiB."""


def spec(python: str, store: Path) -> TargetSpec:
    """The target without a project."""
    return TargetSpec.model_validate({"runtime": "tensorrt", "python": python, "store": str(store)})


def images(count: int, seed: int) -> np.ndarray:
    """Inputs of ``net``: float32, shape (count, 2, 6, 6)."""
    return models.images(count, seed)


class Board:
    """A folder with a small network, its data and a ``hil.toml`` for the GPU.

    ``session`` opens one on the models that a test writes into the config beside ``net``; ``ask`` judges a
    check of one of them.
    """

    def __init__(self, root: Path, python: str, store: Path) -> None:
        self.root, self.python, self.store = root, python, store
        self._sessions: list[Session] = []
        models.convnet(root / "net.onnx", batch=1)
        np.savez(root / "validation.npz", image=images(32, 3))
        np.savez(root / "calibration.npz", image=images(64, 4))

    def write(self, tables: str = "", board: str = "") -> Path:
        """``hil.toml`` with ``net`` and what else is given; its path."""
        path = self.root / "hil.toml"
        head = HEAD.format(python=json.dumps(self.python), store=json.dumps(str(self.store)), board=board)
        path.write_text(head + NET + tables, encoding="utf-8")
        return path

    def session(self, tables: str = "") -> Session:
        """A session on the GPU, without any fallback."""
        config = load(self.write(tables))
        run = Request(config, "gpu", "fail", 60.0, secrets.token_hex(8), self.root / "report", print)
        made = Session.open(run)
        self._sessions.append(made)
        return made

    def ask(self, session: Session, check: str, model: str = "net", precision: str = "fp32") -> CheckResult:
        """The result of one planned or merely measured row."""
        plan = expand(session.config, "gpu")
        (row,) = [row for row in plan.of(check) if (row.model, row.precision) == (model, precision)]
        return session.judge(row).result

    def close(self) -> None:
        """Ends all sessions."""
        while self._sessions:
            self._sessions.pop().close()
