"""The host's part of ``hil board setup`` and ``hil board remove``; root runs once on the board."""

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
"""Seconds; long, because restoring what a killed helper changed may wait for a service."""

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
"""The code on root's command line: it runs the script from standard input, if that has the expected digest."""


@dataclass(frozen=True)
class Setup:
    """The installation on a board: the helper's text, the user who may start it, the services it may restart."""

    user: str
    services: tuple[str, ...]
    helper: str

    @property
    def sudoers(self) -> str:
        """The content of the sudoers file; its ``""`` allows no arguments."""
        return (
            "# Written by 'hil board setup'; 'hil board remove' takes it away.\n"
            f'{self.user} ALL=(root) NOPASSWD: {PROGRAM} ""\n'
        )

    def describe(self) -> list[str]:
        """Return each file with owner, mode and content, one line each; of the program only its digest."""
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
    """Return what ``install`` would install on ``target``. Reads the user's name there; changes nothing.

    Raises ``UserError`` for a name of user or service that is unsafe in root's files, ``LabError`` if the target does
    not answer.
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
            f"its user's name cannot be read: on target {target.name!r}: run '/usr/bin/id -un' there to see why"
        )
    if not USER.fullmatch(user):
        raise UserError(
            f"the user's name {user[:40]!r} cannot go into sudoers: on target {target.name!r}: use one of lower-case "
            "letters, digits and _ . -, at most 32"
        )
    return Setup(user, tuple(dict.fromkeys(services)), _source("helper.py").read_text(encoding="ascii"))


def install(target: Target, setup: Setup, password: Callable[[str], str]) -> list[str]:
    """Install the helper; return the steps done. ``password`` is called at most once, for the board user's password.

    Raises ``LabError`` with the steps done so far if a check on the board fails, or if sudo does not start the helper.
    """
    order = {"do": "install", "user": setup.user, "services": list(setup.services), "sudoers": setup.sudoers}
    steps = _as_root(target, order, setup.user, password)
    start = [PROGRAM] if setup.user == "root" else [SUDO, "-n", "--", PROGRAM]
    done = target.run(start, b"version\n", PATIENCE)
    if not _object(done.out).get("ok"):
        last = _shown(done.err or done.out)
        raise LabError(
            f"the helper is installed and does not answer ({last}): on target {target.name!r}: "
            "see that /etc/sudoers includes /etc/sudoers.d"
        )
    return [*steps, "it answers"]


def remove(target: Target, password: Callable[[str], str]) -> list[str]:
    """Restore what is still changed, then remove the helper; return the steps. Raises like ``install``."""
    setup = planned(target, ())
    return _as_root(target, {"do": "remove"}, setup.user, password)


def _as_root(target: Target, order: dict[str, Any], user: str, password: Callable[[str], str]) -> list[str]:
    """Run ``order`` as root and return its steps: directly, by sudo without a password, or by sudo with one."""
    texts = {"script": "as_root.py", "helper": "helper.py", "units": "unit_check.py"}
    sent = json.dumps({**order, **{key: _source(name).read_text(encoding="ascii") for key, name in texts.items()}})
    data = sent.encode("ascii")
    command = [PYTHON, "-IS", "-c", BOOT, hashlib.sha256(data).hexdigest()]
    if user == "root":
        result = _object(target.run(command, data, PATIENCE).out)
    else:
        result = _object(target.run([SUDO, "-n", "--", *command], data, PATIENCE).out)
        if not result:
            result = _with_password(target, command, data, password(f"password of {user} on {target.name}, for sudo: "))
    if result.get("ok"):
        return [str(step) for step in result["steps"]]
    so_far = "; ".join(str(step) for step in result.get("steps", ()))
    why = str(result.get("error", "the script that ran as root ended without an answer"))
    after = f" (so far: {so_far})" if so_far else ""
    raise LabError(f"{why}{after}: on target {target.name!r}: fix that on the board and run the command again")


def _with_password(target: Target, command: Sequence[str], data: bytes, secret: str) -> dict[str, Any]:
    """Run ``command`` by sudo with the password ``secret``; return its JSON line.

    ``-k`` ignores cached credentials and caches none, so that sudo always reads the password from the first line.
    """
    if not secret or "\n" in secret:
        raise UserError(
            f"root is needed once, and no password was given: on target {target.name!r}: give it, or let root run it"
        )
    done = target.run([SUDO, "-k", "-S", "-p", "", "--", *command], secret.encode() + b"\n" + data, PATIENCE)
    result = _object(done.out)
    if not result:
        last = _shown(done.err.replace(secret.encode(), b"..."))
        raise LabError(
            f"sudo did not accept it ({last}): on target {target.name!r}: try again, as a user who may use sudo"
        )
    return result


def _object(out: bytes) -> dict[str, Any]:
    """Return the last line of ``out`` if it is a JSON object, else an empty one; a login banner may precede it."""
    lines = out.decode("utf-8", "replace").strip().splitlines()
    try:
        found = json.loads(lines[-1]) if lines else {}
    except ValueError:
        return {}
    return cleaned(found) if isinstance(found, dict) else {}


def _shown(raw: bytes) -> str:
    """Return the last line of ``raw``, cleaned for a terminal."""
    lines = raw.decode("utf-8", "replace").strip().splitlines() or ["no output"]
    return clean(lines[-1][-200:])
