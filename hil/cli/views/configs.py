"""The config that a command works with."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from hil.errors import UserError

if TYPE_CHECKING:
    from hil.config.load import Config


def config_at(path: Path | None, *, own: bool = True) -> Config:
    """The config in ``path``, or the nearest ``hil.toml``; ``own`` as for ``load``. Raises ``UserError``."""
    from hil.config.find_config import find
    from hil.config.load import load

    here = Path.cwd()
    chosen = path or find(here)
    if chosen is None:
        advice = "write one with 'hil init MODEL.onnx', or name it with --config"
        raise UserError(f"no hil.toml in {here} or a folder above it: {advice}")
    return load(chosen, own=own)
