"""Print how long a run with a config is estimated to take."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hil.cli.views.console import console
from hil.errors import HilError

if TYPE_CHECKING:
    from pathlib import Path


def print_length(config: Path, target: str = "cpu") -> None:
    """Print the estimated length of a run on ``target``; nothing if the config cannot be loaded or planned.

    The reference of each model is run for a moment.
    """
    from hil.config.load import load
    from hil.session.reference_speed import estimated

    try:
        text = str(estimated(load(config), target))
    except HilError:  # a command that reads the config reports it
        return
    console().print(f"on {target}: {text}", markup=False, highlight=False)
