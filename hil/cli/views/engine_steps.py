"""The steps of a command that holds a target and builds or runs engines, printed on stderr."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hil.cli.views.console import console
from hil.session.steps import Progress

if TYPE_CHECKING:
    from typing_extensions import Self


class Steps(Progress):
    """Prints each step as a line on stderr; on a terminal also the elapsed and remaining time of the current step."""

    def __init__(self) -> None:
        """Prepare the progress display without drawing it."""
        from rich.progress import Progress as Display
        from rich.progress import SpinnerColumn, TextColumn, TimeElapsedColumn

        super().__init__(self.say)
        self._screen = console(stderr=True)
        columns = SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn()
        disable = not self._screen.is_terminal
        self._live = Display(*columns, console=self._screen, transient=True, disable=disable)

    def __enter__(self) -> Self:
        """Start drawing."""
        self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop drawing, also after an error."""
        self.close()

    def close(self) -> None:
        """Remove the elapsed time and leave the printed lines; may be called twice."""
        self._live.stop()

    def say(self, text: str) -> None:
        """Print the step that begins now, and restart the elapsed time."""
        from rich.text import Text

        self._screen.print(Text.assemble(("hil ", "bold cyan"), (text, "cyan")))
        for task in self._live.task_ids:
            self._live.remove_task(task)
        self._live.add_task("", total=None)

    def replace(self, text: str) -> bool:
        """Show ``text`` next to the elapsed time; return False if stderr is not a terminal."""
        from rich.markup import escape

        for task in self._live.task_ids:
            self._live.update(task, description=escape(text))
        return bool(self._screen.is_terminal)
