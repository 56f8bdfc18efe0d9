"""The ``hil`` command: one module for each subcommand, which parses options and calls the library."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


def main(arguments: Sequence[str] | None = None) -> int:
    """Run ``hil ARGUMENTS`` and return its exit code; ``None`` stands for the arguments of this process."""
    from hil.cli.app import run  # typer is slow to import, and some callers import only hil.cli

    return run(arguments)
