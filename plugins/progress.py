"""Prints a line for each long step of a run, which shows that the run is still active."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pytest


class Progress:
    """Prints lines such as ``hil digits int8: calibrating (entropy)`` between pytest's lines; nothing with ``-q``."""

    def __init__(self, config: pytest.Config, *, quiet: bool) -> None:
        self._config = config
        self._quiet = quiet

    def __call__(self, text: str) -> None:
        """Print one step. Suspend pytest's capturing meanwhile, so that the line is not part of a test's output."""
        terminal = self._config.pluginmanager.get_plugin("terminalreporter")
        if self._quiet or terminal is None or self._config.get_verbosity() < 0:
            return
        capture = self._config.pluginmanager.get_plugin("capturemanager")
        with capture.global_and_fixture_disabled() if capture else contextlib.nullcontext():
            terminal.ensure_newline()
            terminal.write("  hil ", cyan=True, bold=True)
            terminal.write_line(text, cyan=True)
