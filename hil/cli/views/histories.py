"""The history that a command works with."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from hil.cli.views.configs import config_at
from hil.errors import UserError

if TYPE_CHECKING:
    from hil.history import History


def history_at(url: str | None, config: Path | None, *, read_only: bool = True) -> History:
    """The history at ``url``, or that of ``hil.toml``. Raises ``UserError``, ``LabError``.

    A relative file in ``url`` is below the working directory, one in ``hil.toml`` below its folder.
    """
    from hil.history import open_history
    from hil.history.urls import OFF

    base = Path.cwd()
    if url is None:
        found = config_at(config)
        url, base = found.spec.project.history, found.root
    if url.strip().lower() == OFF:
        raise UserError("the history is switched off: name one with --history URL, or under [project] in hil.toml")
    return open_history(url, read_only=read_only, base=base)
