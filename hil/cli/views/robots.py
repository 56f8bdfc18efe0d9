"""Print the steps and the outcome of ``hil deploy``, ``hil rollback`` and ``hil releases``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.text import Text

from hil.cli.views.console import console
from hil.errors import ExitCode

if TYPE_CHECKING:
    from hil.deploy.robot import Outcome

WARNING = "warning"
BAD = frozenset({"rolling back", "failed", "giving up", "recovering"})
GOOD = frozenset({"deployed", "unchanged"})
WIDTH = 20


class Steps:
    """Prints each step as it happens; warnings in red."""

    def __init__(self) -> None:
        """Prepare to print on stdout."""
        self.out = console()

    def print_step(self, step: str, text: str) -> None:
        """Print one line: the name of the step and its text."""
        if step == WARNING:
            self.out.print(Text(f"! {step:<{WIDTH}}{text}", style="bold red"))
            return
        style = "yellow" if step in BAD else "cyan"
        self.out.print(Text.assemble(("· ", style), (f"{step:<{WIDTH}}", style), text))


def print_outcome(outcome: Outcome, steps: Steps, done: str = "deployed") -> int:
    """Print the outcome of a deployment or a rollback, and return the exit code.

    The exit code is 0 if the requested release runs now, else 1. ``done`` is the word that is printed for a new
    release.
    """
    good = outcome.how in GOOD and outcome.release is not None
    how = done if outcome.how == "deployed" else outcome.how
    sign = ("✓ ", "bold green") if good else ("✗ ", "bold red")
    steps.out.print(Text.assemble(sign, (f"{how:<{WIDTH}}", sign[1]), outcome.text))
    return int(ExitCode.PASSED if good else ExitCode.FAILED)
