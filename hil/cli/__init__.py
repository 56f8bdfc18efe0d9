"""``hil …``: one file a command, thin above the library."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs ``hil ARGUMENTS`` (``sys.argv`` if ``None``) and returns its exit code; raises nothing foreseeable."""
    from hil.cli.app import run  # typer is heavy, and some import only hil.cli

    return run(arguments)
