"""Make the console of the commands: colours on a terminal, plain text in a pipe."""

from __future__ import annotations

from rich.console import Console


def console(*, stderr: bool = False) -> Console:
    """Return a console for stdout or stderr that neither wraps nor colours piped output. It respects ``NO_COLOR``."""
    return Console(stderr=stderr, highlight=False, soft_wrap=True, emoji=False)
