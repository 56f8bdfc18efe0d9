"""Loads ``hil.toml`` for a pytest run."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hil.config.find_config import find
from hil.config.load import Config, load
from hil.errors import UserError

if TYPE_CHECKING:
    import pytest

NO_CONFIG = (
    "no hil.toml in {} or a folder above it: write one with 'hil init MODEL.onnx', or name it with --hil-config=FILE"
)


def load_config(config: pytest.Config) -> Config:
    """Return the config of a pytest run. Raise ``UserError`` if there is none or it has mistakes."""
    option = config.getoption("hil_config", None)
    folder = config.invocation_params.dir
    path = folder / option if option else find(folder) or find(config.rootpath, folder)
    if path is None:
        raise UserError(NO_CONFIG.format(folder))
    return load(path)
