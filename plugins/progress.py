"""A line for each long step, so that nobody wonders whether the run still lives."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pytest


class Progress:
    """Writes ``hil digits int8: calibrating (entropy)`` between pytest's own lines; silent under ``-q``."""

    def __init__(self, config: pytest.Config, *, quiet: bool) -> None:
        self._config = config
        self._quiet = quiet

    def __call__(self, text: str) -> None:
        """Shows one step; pytest's capturing is lifted for the moment, or the line would end up in a test's output."""
        terminal = self._config.pluginmanager.get_plugin("terminalreporter")
        if self._quiet or terminal is None or self._config.get_verbosity() < 0:
            return
        capture = self._config.pluginmanager.get_plugin("capturemanager")
        with capture.global_and_fixture_disabled() if capture else contextlib.nullcontext():
            terminal.ensure_newline()
            terminal.write("  hil ", cyan=True, bold=True)
            terminal.write_line(text, cyan=True)
