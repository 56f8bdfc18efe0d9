"""Prints a line for each long step of a run, and its remaining time."""

from __future__ import annotations

import contextlib
import shutil
from typing import TYPE_CHECKING

from _pytest import terminal as terminal_reporter

from hil.session import steps

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import pytest
    from _pytest.terminal import TerminalReporter

ERASE = "\r\x1b[2K"
"""Moves to the beginning of the line and erases it (ECMA-48)."""


class Progress(steps.Progress):
    """Prints lines such as ``hil digits int8: calibrating (entropy)`` between pytest's lines; nothing with ``-q``.

    On a terminal, the remaining time of a step is one line that is replaced. ``before`` is called when a step begins,
    with the longest time in seconds that it may take (``None`` if unknown). ``during`` is called each second of a step
    of unknown length, from another thread.
    """

    def __init__(self, config: pytest.Config, *, quiet: bool) -> None:
        super().__init__(self._print)
        self._config = config
        self._quiet = quiet
        self._drawn = False
        self.before: Callable[[float | None], None] = lambda _seconds: None
        self.during: Callable[[], None] = lambda: None

    def begins(self, seconds: float | None) -> None:
        """Call ``before``."""
        self.before(seconds)

    def lasts(self) -> None:
        """Call ``during``."""
        self.during()

    def replace(self, text: str) -> bool:
        """Show ``text`` on the terminal's last line; an empty text clears it.

        Return false, and print nothing, if the output is not a terminal or must stay empty.
        """
        with self._terminal() as terminal:
            if terminal is None or not terminal.isatty:
                return False
            terminal.ensure_newline()
            width = shutil.get_terminal_size().columns - 1
            self._draw(terminal, f"  hil {text}"[:width] if text else "")
            return True

    def _draw(self, terminal: TerminalReporter, text: str) -> None:
        screen = terminal._tw._file  # noqa: SLF001 - pytest has no public way to write without counting columns
        screen.write(ERASE + text)
        screen.flush()
        self._drawn = bool(text)

    def _print(self, text: str) -> None:
        with self._terminal() as terminal:
            if terminal is not None:
                if self._drawn:
                    self._draw(terminal, "")
                terminal.ensure_newline()
                terminal.write("  hil ", cyan=True, bold=True)
                terminal.write_line(text, cyan=True)

    @contextlib.contextmanager
    def _terminal(self) -> Iterator[TerminalReporter | None]:
        """Yield pytest's terminal; ``None`` if nothing may be printed. Capturing is suspended in the context."""
        if self._quiet or self._config.get_verbosity() < 0:
            yield None
            return
        plugins = self._config.pluginmanager
        capture = plugins.get_plugin("capturemanager")
        with capture.global_and_fixture_disabled() if capture else contextlib.nullcontext():
            terminal = plugins.get_plugin("terminalreporter")
            if terminal is None and plugins.has_plugin("terminal"):
                # While pytest is configured, it has no terminal yet: models and data are read then.
                terminal = terminal_reporter.TerminalReporter(self._config)
            yield terminal
