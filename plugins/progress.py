"""A line for each long step, so that nobody wonders whether the run still lives."""

from __future__ import annotations

import pytest


class Progress:
    """Writes ``hil  digits int8: calibrating on 256 samples`` between pytest's own lines; silent under ``-q``."""

    def __init__(self, config: pytest.Config, *, quiet: bool) -> None:
        self._config = config
        self._quiet = quiet

    def __call__(self, text: str) -> None:
        """Shows one step."""
        terminal = self._config.pluginmanager.get_plugin("terminalreporter")
        if self._quiet or terminal is None or self._config.get_verbosity() < 0:
            return
        terminal.ensure_newline()
        terminal.write("  hil ", cyan=True)
        terminal.write_line(text, light=True)
