"""Reads hil's options before any conftest is loaded. A malformed option raises nothing: pytest reports it later."""

from __future__ import annotations

import argparse
import os
import shlex
import sys
from dataclasses import dataclass
from itertools import pairwise, takewhile
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from types import FrameType

OPTIONS = (
    "hil_target",
    "hil_config",
    "hil_report",
    "hil_fallback",
    "hil_gate",
    "hil_model",
    "hil_runs",
    "hil_over",
    "hil_wait",
    "hil_history",
    "hil_baseline",
    "hil_sign_key",
)
"""The ``dest`` names of our options; ``--target`` is another spelling of the first."""
WITHOUT_VALUE = "hil_gate"
COMMAND_LINE: pytest.StashKey[CommandLine] = pytest.StashKey()


@dataclass(frozen=True)
class CommandLine:
    """The arguments from ``addopts``, ``PYTEST_ADDOPTS`` and the command line, in the order in which pytest reads them.

    Attributes:
        arguments: the arguments.
        options: the last value of each hil option that occurs, by ``dest`` name (``hil_report``; ``target``).
        suites: whether a stock suite is named.
    """

    arguments: tuple[str, ...]
    options: dict[str, Any]
    suites: bool

    @property
    def names_hil(self) -> bool:
        """Whether the arguments use hil: one of our options, ``--target``, or a stock suite."""
        return self.suites or bool(self.options)


class _Reader(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise ValueError(message)


def read(config: pytest.Config) -> CommandLine:
    """Return the command line of ``config``; pytest must have read its ini file."""
    if COMMAND_LINE not in config.stash:
        variable = os.environ.get("PYTEST_ADDOPTS", "")
        words = [*config.getini("addopts"), *shlex.split(variable), *config.invocation_params.args]
        config.stash[COMMAND_LINE] = parsed([str(word) for word in words])
    return config.stash[COMMAND_LINE]


def parsed(words: Sequence[str]) -> CommandLine:
    """Return the arguments ``words``, parsed; an argument ``@FILE`` is replaced by the file's lines, as in pytest."""
    reader = _Reader(add_help=False, allow_abbrev=False, argument_default=argparse.SUPPRESS)
    reader.add_argument("--target", nargs="?", const="")
    for name in OPTIONS:
        if name == WITHOUT_VALUE:
            reader.add_argument(spelling(name), action="store_true")
        else:
            reader.add_argument(spelling(name), nargs="?", const="")
    arguments = tuple(_expanded(words, set()))
    try:
        options, rest = reader.parse_known_args(arguments)
    except ValueError:  # --hil-gate=VALUE, which pytest refuses
        return CommandLine(arguments, {WITHOUT_VALUE: True}, suites=False)
    return CommandLine(arguments, vars(options), suites=any(map(is_suite, rest)))


def spelling(name: str) -> str:
    """Return the option with this ``dest`` name as the user writes it: ``--hil-report`` for ``hil_report``."""
    return "--" + name.replace("_", "-")


def is_suite(argument: str) -> bool:
    """Return whether ``argument`` names the stock suites or one of them."""
    return argument.split("::", maxsplit=1)[0].split("/", maxsplit=1)[0].startswith("hil.suites")


def misread(command_line: CommandLine, folder: Path) -> tuple[str, str] | None:
    """Return the first hil option whose value pytest takes for a test's path, and this value; ``None`` without one.

    In ``--hil-report DIR``, pytest takes an existing DIR for a test's path; in ``--hil-report=DIR`` it does not.
    ``folder`` is the folder that pytest was started in.
    """
    names = {"--target", *map(spelling, OPTIONS)} - {spelling(WITHOUT_VALUE)}
    arguments = list(takewhile(lambda word: word != "--", command_line.arguments))
    for option, value in pairwise(arguments):
        if option in names and not value.startswith("-") and _exists(folder / value.split("::")[0]):
            return option, value
    return None


def in_worker() -> bool:
    """Return whether this is a worker process of xdist, even before xdist has set ``workerinput``.

    The call stack decides.
    """
    frame: FrameType | None = sys._getframe()  # noqa: SLF001 - inspect.stack() is slow
    while frame is not None:
        if frame.f_globals.get("__name__") == "__channelexec__":
            return True
        frame = frame.f_back
    return False


def _expanded(words: Sequence[str], open_files: set[str]) -> Iterator[str]:
    for argument in words:
        if not argument.startswith("@") or argument in open_files:
            yield argument
            continue
        try:
            lines = Path(argument[1:]).read_text(encoding="utf-8").splitlines()
        except (OSError, ValueError):
            yield argument
        else:
            yield from _expanded(lines, open_files | {argument})


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except (OSError, ValueError):
        return False
