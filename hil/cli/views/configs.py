"""Open the config that a command uses."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from hil.errors import UserError

if TYPE_CHECKING:
    from hil.config.load import Config


def config_at(path: Path | None, *, own: bool = True) -> Config:
    """Return the config in ``path``; ``None`` means the nearest ``hil.toml``.

    ``own`` is whether to read the project's own checks from ``hil.checks.json`` too. Raise ``UserError`` if there is no
    config or it is invalid.
    """
    from hil.config.find_config import find
    from hil.config.load import load

    folder = Path.cwd()
    chosen = path or find(folder)
    if chosen is None:
        advice = "write one with 'hil init MODEL.onnx', or name it with --config"
        raise UserError(f"no hil.toml in {folder} or a folder above it: {advice}")
    return load(chosen, own=own)
