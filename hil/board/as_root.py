"""What ``hil board setup`` and ``hil board remove`` do as root on the board, in one run of ``/usr/bin/python3 -IS``.

It comes over standard input with the helper itself, behind a digest (``install.BOOT``): no file of the user's is read
or run. Whatever happens it ends with one line of JSON: ``ok``, ``steps`` that were done, ``error``. Python 3.6.
"""

import contextlib
import json
import os
import pwd
import re
import signal
import subprocess
import sys
from types import ModuleType
from typing import Any, Callable, Dict, List, Optional

PROGRAM = "/usr/local/sbin/pytest-hil-helper"
FOLDER = "/etc/pytest-hil"
SERVICES = FOLDER + "/services"
SUDOERS = "/etc/sudoers.d/pytest-hil"
STATE = "/run/pytest-hil"
STATE_FILES = ("gate", "users", "undo", "undo.new", "clocks", "clocks.new")
PYTHON = "/usr/bin/python3"
VISUDO = ("/usr/sbin/visudo", "/usr/bin/visudo")
USER = re.compile(r"[a-z_][a-z0-9_.-]{0,31}")
SERVICE = re.compile(r"[A-Za-z0-9][A-Za-z0-9@_.:-]{0,99}")


class Stopped(Exception):
    """Why it goes no further; what was done so far stays told."""


class Run:
    """One order: ``do``, ``helper`` (the program's text), and for ``install`` ``user``, ``services``, ``sudoers``."""

    def __init__(self, order: Dict[str, Any]) -> None:
        self.order = order
        self.steps: List[str] = []
        self.helper: Any = ModuleType("helper")  # its checks are ours too
        exec(compile(order["helper"], "pytest-hil-helper", "exec"), self.helper.__dict__)  # noqa: S102 - sent by us
        self.units: Any = ModuleType("units")
        exec(compile(order["units"], "pytest-hil-units", "exec"), self.units.__dict__)  # noqa: S102 - as above

    def trusted(self, path: str) -> str:
        """``path`` with its links followed, if root alone can change all of it. Raises ``Stopped``."""
        try:
            return str(self.helper.trusted(path))
        except self.helper.Refused as problem:
            raise Stopped("%s; make it root's alone and try again" % problem) from None

    def install(self) -> None:
        """Program, services, sudoers: until the last is there nobody can start the first."""
        user, services = str(self.order["user"]), [str(name) for name in self.order["services"]]
        self._check_user(user)
        for path in [PYTHON, *filter(os.path.exists, sys.path)]:
            self.trusted(path)
        for name in services:
            self._check_service(name)
        self._place(PROGRAM, self.order["helper"], 0o755)
        with contextlib.suppress(FileExistsError):
            os.mkdir(FOLDER, 0o755)
            os.chmod(FOLDER, 0o755)  # noqa: S103 - the helper's list of services is no secret
        self._place(SERVICES, "".join(name + "\n" for name in services), 0o644)
        if user == "root":
            self.steps.append("root itself needs no line for sudo")
        else:
            self._place(SUDOERS, self.order["sudoers"], 0o440, self._valid_for_sudo)
        for path in (PROGRAM, SERVICES, *((SUDOERS,) if user != "root" else ())):
            self.trusted(path)

    def _check_user(self, user: str) -> None:
        if not USER.fullmatch(user):
            raise Stopped("the user's name %r cannot go into sudoers" % user)
        if os.environ.get("SUDO_USER", user) != user:  # sudo's word, against what the account's own shell told
            raise Stopped("it is for %s, and %s ran sudo" % (user, os.environ["SUDO_USER"]))
        try:
            pwd.getpwnam(user)
        except KeyError:
            raise Stopped("there is no user %s" % user) from None

    def _check_service(self, name: str) -> None:
        """A service that runs what others can write as root would hand root to whoever may restart it."""
        if not SERVICE.fullmatch(name):
            raise Stopped("%r is no name of a service" % name)
        unit = name if name.endswith(".service") else name + ".service"
        try:
            self.units.UnitCheck(self.helper).service(unit)
        except (self.units.Unchecked, self.helper.Refused) as problem:
            raise Stopped(str(problem)) from None

    def _place(self, path: str, text: str, mode: int, valid: Optional[Callable[[str], None]] = None) -> None:
        """Written beside, checked, renamed; nothing is done where it is there already."""
        folder, name = self.trusted(os.path.dirname(path)), os.path.basename(path)
        data = text.encode("ascii")
        if self._is_there(path, data, mode):
            self.steps.append("%s was there already" % path)
            return
        beside = os.path.join(folder, name + ".new")  # sudo passes over files with a dot
        with contextlib.suppress(FileNotFoundError):
            os.unlink(beside)
        descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(data)
                file.flush()
                os.fchown(file.fileno(), 0, 0)
                os.fchmod(file.fileno(), mode)
                os.fsync(file.fileno())
            if valid is not None:
                valid(beside)
            told = "replaced" if os.path.lexists(path) else "written"
            os.rename(beside, os.path.join(folder, name))
        except BaseException:
            os.unlink(beside)
            raise
        self.steps.append("%s was %s" % (path, told))

    @staticmethod
    def _is_there(path: str, data: bytes, mode: int) -> bool:
        try:
            with open(os.open(path, os.O_RDONLY | os.O_NOFOLLOW), "rb") as file:
                seen = os.fstat(file.fileno())
                return (seen.st_mode & 0o7777, seen.st_uid, seen.st_gid) == (mode, 0, 0) and file.read() == data
        except OSError:
            return False

    def _valid_for_sudo(self, path: str) -> None:
        there = [one for one in VISUDO if os.path.exists(one)]
        if not there:
            raise Stopped("this board has no visudo to check the line for sudo with")
        done = subprocess.run(
            [self.trusted(there[0]), "-c", "-f", path],
            check=False,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        if done.returncode != 0:
            raise Stopped(
                "visudo refuses the line for sudo: %s" % done.stdout.decode("ascii", "replace").strip()[-200:]
            )

    def remove(self) -> None:
        """First the right to start it, then what it changed, then the rest."""
        for path in (SUDOERS, SUDOERS + ".new"):
            self._unlink(path)
        self._restore()
        for path in (SERVICES, SERVICES + ".new", PROGRAM, PROGRAM + ".new"):
            self._unlink(path)
        with contextlib.suppress(OSError):
            os.rmdir(FOLDER)
        left = self._left()
        if left:
            raise Stopped(
                "changes are not taken back yet (%s): a session still relies on them, or they failed; "
                "end it, or restart the board" % ", ".join(" ".join(map(str, entry)) for entry in left)
            )
        for name in STATE_FILES:
            with contextlib.suppress(OSError):
                os.unlink(os.path.join(STATE, name))
        with contextlib.suppress(OSError):
            os.rmdir(STATE)
        if not self.steps:
            self.steps.append("nothing was set up here")

    def _unlink(self, path: str) -> None:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)
            self.steps.append("%s was taken away" % path)

    def _restore(self) -> None:
        """The helper takes back what a killed one left; it does so at its start."""
        left = self._left()
        if left and os.path.lexists(PROGRAM):
            with contextlib.suppress(subprocess.TimeoutExpired):
                subprocess.run(
                    [self.trusted(PROGRAM)],
                    check=False,  # judged by what is left
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    timeout=200,
                )
            back = [entry for entry in left if entry not in self._left()]
            self.steps += ["%s was restored" % " ".join(map(str, entry)) for entry in back]

    @staticmethod
    def _left() -> List[List[Any]]:
        try:
            with open(STATE + "/undo") as file:
                found: List[List[Any]] = json.load(file)
        except FileNotFoundError:
            return []
        return found


def main(order: Dict[str, Any]) -> None:
    """Carries ``order`` out, link or no link: it takes a second, and half of it helps nobody."""
    for number in (signal.SIGHUP, signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    os.umask(0o077)
    os.chdir("/")
    told: Dict[str, Any] = {"ok": False, "steps": []}
    try:
        run = Run(order)
        told["steps"] = run.steps
        {"install": run.install, "remove": run.remove}[order["do"]]()
        told["ok"] = True
    except Stopped as problem:
        told["error"] = str(problem)
    except Exception as problem:  # noqa: BLE001 - a traceback would say it to nobody
        told["error"] = "%s: %s" % (type(problem).__name__, problem)
    sys.stdout.write(json.dumps(told) + "\n")
