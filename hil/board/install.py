"""``hil board setup`` and ``hil board remove``, from the host: what is installed, and root asked for once."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from importlib import resources
from typing import TYPE_CHECKING, Any

from hil.board.as_root import PROGRAM, PYTHON, SERVICE, SERVICES, SUDOERS, USER
from hil.errors import LabError, UserError
from hil.text import clean, cleaned

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from hil.targets.target import Target

SUDO = "/usr/bin/sudo"
PATIENCE = 300.0
"""Seconds: restoring what a killed helper left may wait for a service."""

BOOT = """\
import hashlib, json, sys
sent = sys.stdin.buffer.read(1 << 20)
if hashlib.sha256(sent).hexdigest() != sys.argv[1]:
    sys.exit("what arrived is not what was sent")
order = json.loads(sent.decode("ascii"))
code = {"__name__": "as_root"}
exec(compile(order.pop("script"), "as_root", "exec"), code)
code["main"](order)
"""
"""All that root's Python is told in words: to carry out what standard input has, if it has this digest."""


@dataclass(frozen=True)
class Setup:
    """What is to be on a board: the helper's text, who may start it, which services it may restart."""

    user: str
    services: tuple[str, ...]
    helper: str

    @property
    def sudoers(self) -> str:
        """The file for sudo; ``""`` allows no arguments."""
        return (
            "# Written by 'hil board setup'; 'hil board remove' takes it away.\n"
            f'{self.user} ALL=(root) NOPASSWD: {PROGRAM} ""\n'
        )

    def describe(self) -> list[str]:
        """Each file with owner, mode and content; the program's content by its digest."""
        digest = hashlib.sha256(self.helper.encode("ascii")).hexdigest()
        lines = [f"{PROGRAM} (root:root, 0755): sha256 {digest}, the file {_source('helper.py')} of this installation"]
        lines.append(
            f"{SERVICES} (root:root, 0644): {', '.join(self.services) or 'empty, so that none can be touched'}"
        )
        if self.user == "root":
            return [*lines, "no line for sudo: root needs none"]
        return [*lines, f"{SUDOERS} (root:root, 0440):", *(f"  {line}" for line in self.sudoers.splitlines())]


def _source(name: str) -> Any:
    return resources.files("hil.board") / name


def planned(target: Target, services: Sequence[str]) -> Setup:
    """What setting up ``target`` would install; asks it for its user's name and changes nothing.

    Raises ``UserError`` for a name that may not go into a file of root's, ``LabError`` where it does not answer.
    """
    for name in services:
        if not SERVICE.fullmatch(name):
            raise UserError(
                f"--service {name!r} is no name of a service: on target {target.name!r}: give it as 'systemctl status' "
                "has it, letters, digits and @ _ . : - alone"
            )
    done = target.run(["/usr/bin/id", "-un"])
    user = done.out.decode("utf-8", "replace").strip()
    if done.code != 0 or not user:
        raise LabError(
            f"its user's name cannot be had: on target {target.name!r}: see what '/usr/bin/id -un' says there"
        )
    if not USER.fullmatch(user):
        raise UserError(
            f"the user's name {user[:40]!r} cannot go into sudoers: on target {target.name!r}: use one of lower-case "
            "letters, digits and _ . -, at most 32"
        )
    return Setup(user, tuple(dict.fromkeys(services)), _source("helper.py").read_text(encoding="ascii"))


def install(target: Target, setup: Setup, password: Callable[[str], str]) -> list[str]:
    """Installs it; the steps that were done. ``password`` is asked, at most once, for the user's on the board.

    Raises ``LabError`` where root there refuses, with the steps so far, or where sudo does not let the helper start.
    """
    order = {"do": "install", "user": setup.user, "services": list(setup.services), "sudoers": setup.sudoers}
    steps = _as_root(target, order, setup.user, password)
    start = [PROGRAM] if setup.user == "root" else [SUDO, "-n", "--", PROGRAM]
    done = target.run(start, b"version\n", PATIENCE)
    if not _object(done.out).get("ok"):
        said = _shown(done.err or done.out)
        raise LabError(
            f"the helper is installed and does not answer ({said}): on target {target.name!r}: "
            "see that /etc/sudoers includes /etc/sudoers.d"
        )
    return [*steps, "it answers"]


def remove(target: Target, password: Callable[[str], str]) -> list[str]:
    """Takes everything away, after having restored what is still changed. Raises ``LabError`` as ``install`` does."""
    setup = planned(target, ())
    return _as_root(target, {"do": "remove"}, setup.user, password)


def _as_root(target: Target, order: dict[str, Any], user: str, password: Callable[[str], str]) -> list[str]:
    """The steps of ``order``, carried out by root: by right, by sudo without a password, or with the one asked for."""
    texts = {"script": "as_root.py", "helper": "helper.py", "units": "unit_check.py"}
    sent = json.dumps({**order, **{key: _source(name).read_text(encoding="ascii") for key, name in texts.items()}})
    data = sent.encode("ascii")
    command = [PYTHON, "-IS", "-c", BOOT, hashlib.sha256(data).hexdigest()]
    if user == "root":
        told = _object(target.run(command, data, PATIENCE).out)
    else:
        told = _object(target.run([SUDO, "-n", "--", *command], data, PATIENCE).out)
        if not told:
            told = _with_password(target, command, data, password(f"password of {user} on {target.name}, for sudo: "))
    if told.get("ok"):
        return [str(step) for step in told["steps"]]
    so_far = "; ".join(str(step) for step in told.get("steps", ()))
    why = str(told.get("error", "root's side ended without an answer"))
    after = f" (so far: {so_far})" if so_far else ""
    raise LabError(f"{why}{after}: on target {target.name!r}: mend that there and run the command again")


def _with_password(target: Target, command: Sequence[str], data: bytes, secret: str) -> dict[str, Any]:
    """``-k``: sudo asks whatever it remembers, so that the first line is always the password, and remembers nothing."""
    if not secret or "\n" in secret:
        raise UserError(
            f"root is needed once, and no password was given: on target {target.name!r}: give it, or let root run it"
        )
    done = target.run([SUDO, "-k", "-S", "-p", "", "--", *command], secret.encode() + b"\n" + data, PATIENCE)
    told = _object(done.out)
    if not told:
        said = _shown(done.err.replace(secret.encode(), b"..."))
        raise LabError(
            f"sudo did not accept it ({said}): on target {target.name!r}: try again, as a user who may use sudo"
        )
    return told


def _object(out: bytes) -> dict[str, Any]:
    """The last line, if it is an object: a login banner may come before it."""
    lines = out.decode("utf-8", "replace").strip().splitlines()
    try:
        found = json.loads(lines[-1]) if lines else {}
    except ValueError:
        return {}
    return cleaned(found) if isinstance(found, dict) else {}


def _shown(raw: bytes) -> str:
    """Its last line, harmless on a terminal."""
    lines = raw.decode("utf-8", "replace").strip().splitlines() or ["no word"]
    return clean(lines[-1][-200:])
