"""What commands print to people: colours on a terminal, plain words in a pipe."""

from __future__ import annotations

from rich.console import Console


def console(*, stderr: bool = False) -> Console:
    """A console that never wraps or colours what is piped; ``NO_COLOR`` is honoured by rich itself."""
    return Console(stderr=stderr, highlight=False, soft_wrap=True, emoji=False)
