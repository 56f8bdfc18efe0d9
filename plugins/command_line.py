"""What the command line says about hil, read before any conftest is loaded; nothing in here raises."""

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
    "hil_wait",
    "hil_history",
    "hil_baseline",
    "hil_sign_key",
)
"""Our options as pytest names their values; ``--target`` is the other spelling of the first."""
WITHOUT_VALUE = "hil_gate"
COMMAND_LINE: pytest.StashKey[CommandLine] = pytest.StashKey()


@dataclass(frozen=True)
class CommandLine:
    """The arguments from ``addopts``, ``PYTEST_ADDOPTS`` and the command itself, in the order pytest reads them in.

    ``options`` has the last value of each of our options, and of ``--target`` as ``target``, whoever defines it.
    """

    arguments: tuple[str, ...]
    options: dict[str, Any]
    suites: bool

    @property
    def names_hil(self) -> bool:
        """Whether hil is asked for: by one of our options, by ``--target``, or by the stock suites."""
        return self.suites or bool(self.options)


class _Reader(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise ValueError(message)


def read(config: pytest.Config) -> CommandLine:
    """The command line of ``config``, once pytest has read its ini file."""
    if COMMAND_LINE not in config.stash:
        variable = os.environ.get("PYTEST_ADDOPTS", "")
        given = [*config.getini("addopts"), *shlex.split(variable), *config.invocation_params.args]
        config.stash[COMMAND_LINE] = parsed([str(each) for each in given])
    return config.stash[COMMAND_LINE]


def parsed(given: Sequence[str]) -> CommandLine:
    """Reads ``given``; an argument ``@FILE`` stands for the lines of that file, as it does for pytest."""
    reader = _Reader(add_help=False, allow_abbrev=False, argument_default=argparse.SUPPRESS)
    reader.add_argument("--target", nargs="?", const="")
    for name in OPTIONS:
        if name == WITHOUT_VALUE:
            reader.add_argument(spelling(name), action="store_true")
        else:
            reader.add_argument(spelling(name), nargs="?", const="")
    arguments = tuple(_expanded(given, set()))
    try:
        options, rest = reader.parse_known_args(arguments)
    except ValueError:  # --hil-gate=VALUE: pytest refuses it
        return CommandLine(arguments, {WITHOUT_VALUE: True}, suites=False)
    return CommandLine(arguments, vars(options), suites=any(map(is_suite, rest)))


def spelling(name: str) -> str:
    """``--hil-report`` for ``hil_report``."""
    return "--" + name.replace("_", "-")


def is_suite(argument: str) -> bool:
    """Whether ``argument`` names the stock suites or one of them."""
    return argument.split("::", maxsplit=1)[0].split("/", maxsplit=1)[0].startswith("hil.suites")


def misread(command_line: CommandLine, folder: Path) -> tuple[str, str] | None:
    """The first of our options with its value that pytest takes for the path of a test, if there is one.

    pytest looks for the project before it knows our options: a value of its own argument that exists is a path to it.
    """
    names = {"--target", *map(spelling, OPTIONS)} - {spelling(WITHOUT_VALUE)}
    arguments = list(takewhile(lambda each: each != "--", command_line.arguments))
    for option, value in pairwise(arguments):
        if option in names and not value.startswith("-") and _exists(folder / value.split("::")[0]):
            return option, value
    return None


def in_worker() -> bool:
    """Whether this is a worker process of xdist, before xdist has set ``workerinput``.

    Asked of the call stack: the variables that xdist sets are inherited by whatever a worker's test starts.
    """
    frame: FrameType | None = sys._getframe()  # noqa: SLF001 - the only way to the call stack that costs nothing
    while frame is not None:
        if frame.f_globals.get("__name__") == "__channelexec__":
            return True
        frame = frame.f_back
    return False


def _expanded(given: Sequence[str], seen: set[str]) -> Iterator[str]:
    for argument in given:
        if not argument.startswith("@") or argument in seen:
            yield argument
            continue
        try:
            lines = Path(argument[1:]).read_text(encoding="utf-8").splitlines()
        except (OSError, ValueError):
            yield argument
        else:
            yield from _expanded(lines, seen | {argument})


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except (OSError, ValueError):
        return False
