"""The host's part of ``hil board setup`` and ``hil board remove``. It runs one script as root on the board."""

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
"""Seconds for one command on the board; long, since undoing the changes of a killed helper may wait for a service."""

BOOT = """\
import hashlib, json, sys
sent = sys.stdin.buffer.read(1 << 20)
if hashlib.sha256(sent).hexdigest() != sys.argv[1]:
    sys.exit("the received script does not match its digest")
order = json.loads(sent.decode("ascii"))
code = {"__name__": "as_root"}
exec(compile(order.pop("script"), "as_root", "exec"), code)
code["main"](order)
"""
"""The code on root's command line: it runs the script from standard input if the script has the expected digest."""


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
            "# Written by 'hil board setup'; 'hil board remove' removes it.\n"
            f'{self.user} ALL=(root) NOPASSWD: {PROGRAM} ""\n'
        )

    def describe(self) -> list[str]:
        """Return lines with the owner, the mode and the content of each file; the program's content as its digest."""
        digest = hashlib.sha256(self.helper.encode("ascii")).hexdigest()
        lines = [f"{PROGRAM} (root:root, 0755): sha256 {digest}, the file {_source('helper.py')} of this installation"]
        lines.append(
            f"{SERVICES} (root:root, 0644): {', '.join(self.services) or 'empty: the helper can change no service'}"
        )
        if self.user == "root":
            return [*lines, "no sudoers file: root needs none"]
        return [*lines, f"{SUDOERS} (root:root, 0440):", *(f"  {line}" for line in self.sudoers.splitlines())]


def _source(name: str) -> Any:
    return resources.files("hil.board") / name


def plan(target: Target, services: Sequence[str]) -> Setup:
    """Return what ``install`` would install on ``target``. Reads the user's name on the target and changes nothing.

    Raises ``UserError`` if the name of the user or of a service is unsafe in root's files, ``LabError`` if the user's
    name cannot be read.
    """
    for name in services:
        if not SERVICE.fullmatch(name):
            raise UserError(
                f"--service {name!r} is not a valid service name: on target {target.name!r}: write it as "
                "'systemctl status' does, with letters, digits and @ _ . : - only"
            )
    done = target.run(["/usr/bin/id", "-un"])
    user = done.out.decode("utf-8", "replace").strip()
    if done.code != 0 or not user:
        raise LabError(
            f"the user's name cannot be read: on target {target.name!r}: run '/usr/bin/id -un' there to see why"
        )
    if not USER.fullmatch(user):
        raise UserError(
            f"user name {user[:40]!r} is not supported in a sudoers file: on target {target.name!r}: connect as a user "
            "whose name has at most 32 lower-case letters, digits and _ . -"
        )
    return Setup(user, tuple(dict.fromkeys(services)), _source("helper.py").read_text(encoding="ascii"))


def install(target: Target, setup: Setup, password: Callable[[str], str]) -> list[str]:
    """Install the helper; return the steps done.

    ``password`` is called with a prompt and returns the password of the board's user; it is called at most once, and
    only if sudo needs it. Raises ``UserError`` if it returns an empty text, ``LabError`` if sudo refuses the password,
    a check on the board fails (the message lists the steps done so far), or the installed helper does not answer.
    """
    order = {"do": "install", "user": setup.user, "services": list(setup.services), "sudoers": setup.sudoers}
    steps = _as_root(target, order, setup.user, password)
    start = [PROGRAM] if setup.user == "root" else [SUDO, "-n", "--", PROGRAM]
    done = target.run(start, b"version\n", PATIENCE)
    if not _object(done.out).get("ok"):
        last = _shown(done.err or done.out)
        raise LabError(
            f"the helper is installed but does not answer ({last}): on target {target.name!r}: "
            "check that /etc/sudoers includes /etc/sudoers.d"
        )
    return [*steps, "the helper answers"]


def remove(target: Target, password: Callable[[str], str]) -> list[str]:
    """Undo the helper's remaining changes, then remove it; return the steps done.

    Raises the errors of ``plan`` and ``install``.
    """
    setup = plan(target, ())
    return _as_root(target, {"do": "remove"}, setup.user, password)


def _as_root(target: Target, order: dict[str, Any], user: str, password: Callable[[str], str]) -> list[str]:
    """Run ``order`` as root, directly or by sudo, and return its steps. Requests the password only if sudo needs it."""
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
    """Run ``command`` by sudo with the password ``secret``; return the JSON object that the command printed last.

    Raises ``UserError`` if ``secret`` is empty, ``LabError`` if sudo refuses it.
    """
    if not secret or "\n" in secret:
        raise UserError(
            f"root is needed once, but no password was entered: on target {target.name!r}: enter the password of "
            "its user, or connect as root"
        )
    done = target.run([SUDO, "-k", "-S", "-p", "", "--", *command], secret.encode() + b"\n" + data, PATIENCE)
    result = _object(done.out)
    if not result:
        last = _shown(done.err.replace(secret.encode(), b"..."))
        raise LabError(
            f"sudo did not accept the password ({last}): on target {target.name!r}: try again, as a user "
            "who may use sudo"
        )
    return result


def _object(out: bytes) -> dict[str, Any]:
    """Return the JSON object in the last line of ``out``, or an empty dict. A login banner may precede that line."""
    lines = out.decode("utf-8", "replace").strip().splitlines()
    try:
        answer = json.loads(lines[-1]) if lines else {}
    except ValueError:
        return {}
    return cleaned(answer) if isinstance(answer, dict) else {}


def _shown(raw: bytes) -> str:
    """Return the end of the last line of ``raw``, cleaned for a terminal; ``no output`` if there is no line."""
    lines = raw.decode("utf-8", "replace").strip().splitlines() or ["no output"]
    return clean(lines[-1][-200:])
