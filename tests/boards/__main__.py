"""A simulated board for manual tests: run ``python -m tests.boards jp62`` as root in the repository.

A folder gets the keys and the files for connecting to it. The board runs until Ctrl-C, ``quit`` or SIGTERM.
Commands on standard input change it; at the end of the input it waits for a signal.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import pytest

from tests.agent.test_interpreters import CACHE
from tests.boards.board import REPOSITORY, SimulatedBoard
from tests.boards.conftest import installed_interpreter, missing_requirement
from tests.boards.generations import GENERATIONS, facts_of

if TYPE_CHECKING:
    from collections.abc import Callable

PASSWORD = "jetson"  # noqa: S105 - of an account that lives as long as this program
COMMANDS: dict[str, tuple[str, Callable[[SimulatedBoard, list[str]], object]]] = {
    "temperature": ("temperature CELSIUS [ZONE]", lambda board, words: board.temperature(float(words[0]), *words[1:2])),
    "throttle": ("throttle on|off", lambda board, words: board.throttle(on=words[0] == "on")),
    "mode": ("mode NAME", lambda board, words: board.power_mode(words[0])),
    "link": ("link up|down", lambda board, words: board.link(up=words[0] == "up")),
    "loss": ("loss PERCENT", lambda board, words: board.loss(float(words[0]) / 100)),
    "sshd": ("sshd on|off", lambda board, words: board.sshd(on=words[0] == "on")),
    "disk": ("disk PATH MIB", lambda board, words: board.small_disk(words[0], int(words[1]) << 20)),
    "reboot": ("reboot", lambda board, _: board.reboot()),
    "root": ("root COMMAND…", lambda board, words: print(board.shell("sh", "-c", " ".join(words)).stdout, end="")),  # noqa: T201 - the command exists for this output
}
"""The usage of each command, and the function that executes it."""


def main(argv: list[str] | None = None) -> int:
    """Run the board until it is stopped. Return exit code 1 if this machine cannot simulate it."""
    options = _arguments().parse_args(argv)
    why = missing_requirement()
    if why:
        return _print_error(why)
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _interrupt)
    with tempfile.TemporaryDirectory(prefix="board-") as temporary:
        folder = options.folder.resolve() if options.folder else Path(temporary)
        if (folder / "host_key").exists():
            return _print_error(f"{folder} already has the keys of a board: choose another folder, or remove it")
        try:
            cached = Path(os.environ.get(CACHE) or REPOSITORY / ".pytest_cache/d/hil-interpreters")
            interpreter = installed_interpreter(facts_of(options.generation)["python"], (), cached)
        except pytest.skip.Exception as skipped:
            return _print_error(str(skipped))
        board = SimulatedBoard(options.generation, interpreter, folder)
        try:
            if options.sudo:
                board.allow_sudo(PASSWORD)
            _describe(board, options.name, folder, options.sudo)
            _execute_commands(board)
        except KeyboardInterrupt:
            pass
        finally:
            board.close()
    return 0


def _arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m tests.boards", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("generation", choices=GENERATIONS, help="JetPack 4.6, 5.1, 6.2, 7.0 or 7.2, with its board")
    parser.add_argument(
        "--name", default="rover", help="name of the target in hil.toml and of the host in ssh_config (default: rover)"
    )
    parser.add_argument(
        "--folder", type=Path, help="folder for keys, target.toml and ssh_config (default: a temporary one)"
    )
    parser.add_argument(
        "--sudo", action="store_true", help=f"allow its user sudo with the password {PASSWORD!r}, as on a developer kit"
    )
    return parser


def _describe(board: SimulatedBoard, name: str, folder: Path, sudo: bool) -> None:
    target = folder / "target.toml"
    target.write_text(board.toml(name), encoding="utf-8")
    config = folder / "ssh_config"
    lines = [f"Host {name}", f"HostName {board.host}", f"Port {board.port}", f"User {board.user}"]
    lines += [f"IdentityFile {board.key}", "IdentitiesOnly yes", f"UserKnownHostsFile {board.known_hosts}"]
    config.write_text("\n    ".join(lines) + "\n", encoding="utf-8")
    lines = [f"{board.facts['model']}, {board.generation}, at {board.host}", "", target.read_text(encoding="utf-8")]
    lines += [f"cat {target} >> hil.toml", f"ssh -F {config} {name}"]
    lines += [f"sudo's password: {PASSWORD}"] * sudo
    lines += ["", f"commands: {', '.join(usage for usage, _ in COMMANDS.values())}, quit (or Ctrl-C)"]
    print("\n".join(lines), flush=True)  # noqa: T201 - a program for people


def _execute_commands(board: SimulatedBoard) -> None:
    for line in sys.stdin:
        name, *words = line.split() or [""]
        if name == "quit":
            return
        if not name:
            continue
        usage, change = COMMANDS.get(name, (", ".join(COMMANDS), None))
        if change is None:
            _print_error(f"unknown command {name!r}: use {usage} or quit")
            continue
        try:
            change(board, words)
        except (IndexError, ValueError, LookupError, OSError) as error:
            _print_error(f"{line.strip()}: {error}: write {usage}")
    while True:
        signal.pause()


def _interrupt(*_: object) -> NoReturn:
    raise KeyboardInterrupt


def _print_error(why: str) -> int:
    print(why, file=sys.stderr, flush=True)  # noqa: T201 - as above
    return 1


if __name__ == "__main__":
    sys.exit(main())
