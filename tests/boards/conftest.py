"""Fixtures that start simulated boards, a new one for each test."""

from __future__ import annotations

import functools
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
    """The folder of the interpreters' virtual environments."""
    folder = os.environ.get(CACHE)
    return Path(folder) if folder else Path(request.config.cache.mkdir("hil-interpreters"))


@pytest.fixture(scope="session")
def interpreters(environments: Path) -> Callable[..., Interpreter]:
    """Return a function that provides an interpreter with ``wheels`` or the default packages, or skips the test."""

    def interpreter(version: str, wheels: tuple[str, ...] = ()) -> Interpreter:
        return installed_interpreter(version, wheels, environments)

    return interpreter


@functools.cache
def installed_interpreter(version: str, wheels: tuple[str, ...], folder: Path) -> Interpreter:
    """Return the interpreter with ``wheels`` or the default packages, cached in ``folder``. Skip if it is missing."""
    python = find(version)
    if python is None:
        pytest.skip(f"python{version} is not installed")
    virtual = environment(python, version, folder / "-".join(wheels), wheels)
    query = [str(virtual), "-c", "import sys, numpy; print(sys.base_prefix); print(numpy.__path__[0])"]
    prefix, numpy = subprocess.run(query, capture_output=True, text=True, check=True).stdout.split()
    return Interpreter("" if prefix == "/usr" else prefix, str(Path(numpy).parent))


def missing_requirement() -> str:
    """Return why this machine cannot simulate a board; empty if it can."""
    if os.geteuid() != 0:
        return "a simulated board needs root"
    for program in PROGRAMS:
        if shutil.which(program, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin") is None:
            return f"a simulated board needs {program}, which is not installed"
    return ""


@pytest.fixture
def boards(
    interpreters: Callable[..., Interpreter], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[..., SimulatedBoard]]:
    """Return a function that starts a board of a generation, with these wheels or the default ones."""
    if why := missing_requirement():
        pytest.skip(why)
    started: list[SimulatedBoard] = []

    def board(generation: str, *wheels: str) -> SimulatedBoard:
        interpreter = interpreters(facts_of(generation)["python"], wheels)
        started.append(SimulatedBoard(generation, interpreter, tmp_path_factory.mktemp(generation)))
        return started[-1]

    yield board
    for each in started:
        each.close()


@pytest.fixture
def board(request: pytest.FixtureRequest, boards: Callable[..., SimulatedBoard]) -> SimulatedBoard:
    """A new ``jp62``; an ``indirect`` parameter names another generation, or a generation and its wheels."""
    generation = getattr(request, "param", "jp62")
    return boards(generation) if isinstance(generation, str) else boards(*generation)
