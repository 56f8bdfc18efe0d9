"""Boards for tests, started once a session and as new for each test."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.agent.test_interpreters import CACHE, environment, find
from tests.boards.board import Interpreter, SimulatedBoard
from tests.boards.generations import facts_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

PROGRAMS = ("sshd", "ssh", "ssh-keygen", "ip", "iptables", "nsenter", "setpriv", "sudo")


@pytest.fixture(scope="session")
def environments(request: pytest.FixtureRequest) -> Path:
    """Where the interpreters' environments are kept."""
    given = os.environ.get(CACHE)
    return Path(given) if given else Path(request.config.cache.mkdir("hil-interpreters"))


@pytest.fixture(scope="session")
def interpreters(environments: Path) -> Callable[..., Interpreter]:
    """Finds a generation's interpreter with its usual packages or those named; skips where this machine lacks it."""

    def interpreter(version: str, wheels: tuple[str, ...] = ()) -> Interpreter:
        return found_interpreter(version, wheels, environments)

    return interpreter


def found_interpreter(version: str, wheels: tuple[str, ...], folder: Path) -> Interpreter:
    """That version with its usual packages or ``wheels``, installed below ``folder`` once; skips where it is not."""
    python = find(version)
    if python is None:
        pytest.skip(f"python{version} is not there")
    inside = environment(python, version, folder / "-".join(wheels), wheels)
    asked = [str(inside), "-c", "import sys, numpy; print(sys.base_prefix); print(numpy.__path__[0])"]
    prefix, numpy = subprocess.run(asked, capture_output=True, text=True, check=True).stdout.split()
    return Interpreter("" if prefix == "/usr" else prefix, str(Path(numpy).parent))


def lacking() -> str:
    """Why this machine cannot simulate a board; empty where it can."""
    if os.geteuid() != 0:
        return "a simulated board needs root"
    for program in PROGRAMS:
        if shutil.which(program, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin") is None:
            return f"{program} is not there, which a simulated board needs"
    return ""


@pytest.fixture
def boards(
    interpreters: Callable[..., Interpreter], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[..., SimulatedBoard]]:
    """Makes a board of a generation, as new, with the wheels named or the usual ones; a fifth of a second each."""
    if why := lacking():
        pytest.skip(why)
    made: list[SimulatedBoard] = []

    def board(generation: str, *wheels: str) -> SimulatedBoard:
        interpreter = interpreters(facts_of(generation)["python"], wheels)
        made.append(SimulatedBoard(generation, interpreter, tmp_path_factory.mktemp(generation)))
        return made[-1]

    yield board
    for one in made:
        one.close()


@pytest.fixture
def board(request: pytest.FixtureRequest, boards: Callable[..., SimulatedBoard]) -> SimulatedBoard:
    """A board as new: ``jp62``, or the generation that ``indirect`` parametrization names."""
    return boards(getattr(request, "param", "jp62"))
