"""What ``hil deploy``, ``hil rollback`` and ``hil releases`` have in common: steps as they are taken, and the end."""

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
    """Prints each step when it is taken; a warning in red."""

    def __init__(self) -> None:
        """On standard output."""
        self.out = console()

    def tell(self, step: str, text: str) -> None:
        """One line."""
        if step == WARNING:
            self.out.print(Text(f"! {step:<{WIDTH}}{text}", style="bold red"))
            return
        style = "yellow" if step in BAD else "cyan"
        self.out.print(Text.assemble(("· ", style), (f"{step:<{WIDTH}}", style), text))


def ended(outcome: Outcome, steps: Steps, done: str = "deployed") -> int:
    """Prints how it ended, ``done`` if well; the exit code: 0 then, or if it was so already; 1 for all else."""
    good = outcome.how in GOOD and outcome.release is not None
    how = done if outcome.how == "deployed" else outcome.how
    sign = ("✓ ", "bold green") if good else ("✗ ", "bold red")
    steps.out.print(Text.assemble(sign, (f"{how:<{WIDTH}}", sign[1]), outcome.text))
    return int(ExitCode.PASSED if good else ExitCode.FAILED)
