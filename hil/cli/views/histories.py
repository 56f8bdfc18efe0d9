"""Open the history that a command uses."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from hil.cli.views.configs import config_at
from hil.errors import UserError

if TYPE_CHECKING:
    from hil.history import History


def history_at(url: str | None, config: Path | None, *, read_only: bool = True) -> History:
    """Return the open history at ``url``; if ``url`` is ``None``, the history that ``hil.toml`` names.

    A relative path in ``url`` starts at the working directory, one in ``hil.toml`` at that file's folder. Raise
    ``UserError`` if the history is switched off or unusable, ``LabError`` if the database fails.
    """
    from hil.history import open_history
    from hil.history.urls import OFF

    base = Path.cwd()
    if url is None:
        loaded = config_at(config)
        url, base = loaded.spec.project.history, loaded.root
    if url.strip().lower() == OFF:
        raise UserError(
            "the history is switched off: name one with --history URL, or with history in [project] of hil.toml"
        )
    return open_history(url, read_only=read_only, base=base)
