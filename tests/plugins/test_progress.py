"""``Progress``: a step's remaining work is one line that is replaced on a terminal, and never part of a log's lines."""

from __future__ import annotations

import io
import re
import threading
from types import SimpleNamespace
from typing import TYPE_CHECKING, cast

import pytest
from _pytest.terminal import TerminalReporter

from hil.plugins.progress import ERASE, Progress
from hil.session import steps

if TYPE_CHECKING:
    from hil.session.steps import Step


class Terminal(io.StringIO):
    """A file that is a terminal or not, as requested."""

    def __init__(self, *, tty: bool) -> None:
        super().__init__()
        self.tty = tty

    def isatty(self) -> bool:
        """Return whether the file is a terminal."""
        return self.tty


def progress_on(pytestconfig: pytest.Config, file: Terminal, verbosity: int = 0, *, quiet: bool = False) -> Progress:
    """Return a ``Progress`` that prints to ``file`` through pytest's own reporter, without capturing."""
    reporter = TerminalReporter(pytestconfig, file)
    plugins = SimpleNamespace(get_plugin={"terminalreporter": reporter}.get, has_plugin=lambda _: True)
    config = SimpleNamespace(pluginmanager=plugins, get_verbosity=lambda: verbosity)
    return Progress(cast("pytest.Config", config), quiet=quiet)


@pytest.mark.parametrize(("seconds", "called"), [(None, True), (60.0, False)])
def test_only_a_step_of_unknown_length_is_interrupted(
    monkeypatch: pytest.MonkeyPatch, seconds: float | None, called: bool
) -> None:
    """While a step of unknown length lasts, ``during`` is called; never in one of known length, which may be timed."""
    monkeypatch.setattr(steps, "SHORT", 0.01)
    monkeypatch.setattr(steps, "REDRAWN", 0.01)
    progress, during = Progress(cast("pytest.Config", None), quiet=True), threading.Event()
    progress.during = during.set
    with progress.step("work", seconds=seconds):
        assert during.wait(10.0 if called else 0.1) == called


def test_a_terminal_shows_one_line_that_is_replaced(pytestconfig: pytest.Config) -> None:
    """Each text replaces the one before, an empty text erases it, and a line erases the rest of a text."""
    file = Terminal(tty=True)
    progress = progress_on(pytestconfig, file)
    assert progress.replace("a: 2 s so far")
    assert progress.replace("")
    assert file.getvalue() == f"{ERASE}  hil a: 2 s so far{ERASE}"
    progress.replace("b: 2 s so far")
    progress("c")
    plain = re.sub(r"\x1b\[[0-9]+m", "", file.getvalue())
    assert plain.endswith(f"{ERASE}  hil b: 2 s so far{ERASE}  hil c\n")


def test_a_log_has_lines_only(pytestconfig: pytest.Config) -> None:
    """Where the output is not a terminal nothing is replaced, and no control character is written."""
    file = Terminal(tty=False)
    progress = progress_on(pytestconfig, file)
    assert not progress.replace("a: 2 s so far")
    progress("b")
    assert file.getvalue() == "  hil b\n"


@pytest.mark.parametrize(("verbosity", "quiet"), [(-1, False), (0, True)], ids=["-q", "worker"])
def test_nothing_is_printed_where_nobody_reads(pytestconfig: pytest.Config, verbosity: int, quiet: bool) -> None:
    """With ``-q`` and in a worker of pytest-xdist nothing is printed."""
    file = Terminal(tty=True)
    progress = progress_on(pytestconfig, file, verbosity, quiet=quiet)
    progress("a")
    assert not progress.replace("b")
    assert not file.getvalue()


def test_rows_are_kept_before_a_step(pytestconfig: pytest.Config) -> None:
    """When a step begins, its longest time is passed to ``before``."""
    progress, begun = progress_on(pytestconfig, Terminal(tty=False)), list[float | None]()
    progress.before = begun.append
    step: Step
    with progress.step("building", seconds=1800.0), progress.step("reading", said=False) as step:
        assert step.seconds is None
    assert begun == [1800.0, None]
