"""The root part of ``hil board setup`` and ``hil board remove``, run on the board by ``/usr/bin/python3 -IS``.

The last line of output is JSON: ``ok``, the ``steps`` done, ``error``. Python 3.6.
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
    """Raised to stop the installation or removal; the text states why. The steps done so far are still reported."""


class Run:
    """Installs or removes the helper, by an order from the host.

    The order has ``do`` (``install`` or ``remove``), and the texts of ``helper`` and ``units``; for ``install`` also
    ``user``, ``services`` and ``sudoers``, the content of the sudoers file.
    """

    def __init__(self, order: Dict[str, Any]) -> None:
        self.order = order
        self.steps: List[str] = []
        self.helper: Any = ModuleType("helper")  # provides ``trusted`` and ``Refused``
        exec(compile(order["helper"], "pytest-hil-helper", "exec"), self.helper.__dict__)  # noqa: S102 - sent by us
        self.units: Any = ModuleType("units")
        exec(compile(order["units"], "pytest-hil-units", "exec"), self.units.__dict__)  # noqa: S102 - as above

    def trusted(self, path: str) -> str:
        """Return ``path`` with its links resolved. Raise ``Stopped`` if a user other than root can change it."""
        try:
            return str(self.helper.trusted(path))
        except self.helper.Refused as problem:
            raise Stopped(
                "%s: make root its owner, with no write permission for others, and try again" % problem
            ) from None

    def install(self) -> None:
        """Install the program, its list of services, and last the sudoers file, which enables the helper."""
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
            self.steps.append("root needs no sudoers file")
        else:
            self._place(SUDOERS, self.order["sudoers"], 0o440, self._valid_for_sudo)
        for path in (PROGRAM, SERVICES, *((SUDOERS,) if user != "root" else ())):
            self.trusted(path)

    def _check_user(self, user: str) -> None:
        if not USER.fullmatch(user):
            raise Stopped("user name %r is not supported in a sudoers file" % user)
        if os.environ.get("SUDO_USER", user) != user:  # ``user`` is what the login shell reported
            raise Stopped("the helper is for user %s, but user %s ran sudo" % (user, os.environ["SUDO_USER"]))
        try:
            pwd.getpwnam(user)
        except KeyError:
            raise Stopped("there is no user %s" % user) from None

    def _check_service(self, name: str) -> None:
        """Raise ``Stopped`` if ``name`` is invalid, or if a user could become root by restarting the service."""
        if not SERVICE.fullmatch(name):
            raise Stopped("%r is not a valid service name" % name)
        unit = name if name.endswith(".service") else name + ".service"
        try:
            self.units.UnitCheck(self.helper).service(unit)
        except (self.units.Unchecked, self.helper.Refused) as problem:
            raise Stopped(str(problem)) from None

    def _place(self, path: str, text: str, mode: int, valid: Optional[Callable[[str], None]] = None) -> None:
        """Write a temporary file, check it with ``valid`` and rename it. Do nothing if ``path`` is up to date."""
        folder, name = self.trusted(os.path.dirname(path)), os.path.basename(path)
        data = text.encode("ascii")
        if self._is_up_to_date(path, data, mode):
            self.steps.append("%s is already up to date" % path)
            return
        temporary = os.path.join(folder, name + ".new")  # sudo ignores files with a dot in their name
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(data)
                file.flush()
                os.fchown(file.fileno(), 0, 0)
                os.fchmod(file.fileno(), mode)
                os.fsync(file.fileno())
            if valid is not None:
                valid(temporary)
            action = "replaced" if os.path.lexists(path) else "written"
            os.rename(temporary, os.path.join(folder, name))
        except BaseException:
            os.unlink(temporary)
            raise
        self.steps.append("%s was %s" % (path, action))

    @staticmethod
    def _is_up_to_date(path: str, data: bytes, mode: int) -> bool:
        try:
            with open(os.open(path, os.O_RDONLY | os.O_NOFOLLOW), "rb") as file:
                status = os.fstat(file.fileno())
                return (status.st_mode & 0o7777, status.st_uid, status.st_gid) == (mode, 0, 0) and file.read() == data
        except OSError:
            return False

    def _valid_for_sudo(self, path: str) -> None:
        programs = [path for path in VISUDO if os.path.exists(path)]
        if not programs:
            raise Stopped("this board has no visudo, which checks the sudoers file")
        done = subprocess.run(
            [self.trusted(programs[0]), "-c", "-f", path],
            check=False,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        if done.returncode != 0:
            raise Stopped("visudo rejects the sudoers file: %s" % done.stdout.decode("ascii", "replace").strip()[-200:])

    def remove(self) -> None:
        """Remove the sudoers file first, then undo the helper's changes, then remove the rest.

        Raise ``Stopped`` if changes remain; their record then stays on the board.
        """
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
                "changes are not undone yet (%s): a session still relies on them, or undoing them failed: "
                "end that session, or reboot the board" % ", ".join(" ".join(map(str, entry)) for entry in left)
            )
        for name in STATE_FILES:
            with contextlib.suppress(OSError):
                os.unlink(os.path.join(STATE, name))
        with contextlib.suppress(OSError):
            os.rmdir(STATE)
        if not self.steps:
            self.steps.append("there was nothing to remove")

    def _unlink(self, path: str) -> None:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)
            self.steps.append("%s was removed" % path)

    def _restore(self) -> None:
        """If changes of a killed helper are recorded, start the helper, which undoes them.

        Add a step for each change that is no longer recorded afterwards.
        """
        left = self._left()
        if left and os.path.lexists(PROGRAM):
            with contextlib.suppress(subprocess.TimeoutExpired):
                subprocess.run(
                    [self.trusted(PROGRAM)],
                    check=False,  # the remaining entries show whether it worked
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    timeout=200,
                )
            restored = [entry for entry in left if entry not in self._left()]
            self.steps += ["%s was restored" % " ".join(map(str, entry)) for entry in restored]

    @staticmethod
    def _left() -> List[List[Any]]:
        try:
            with open(STATE + "/undo") as file:
                entries: List[List[Any]] = json.load(file)
        except FileNotFoundError:
            return []
        return entries


def main(order: Dict[str, Any]) -> None:
    """Carry out ``order`` and print the result as JSON. Ignores signals, so that a lost connection does not stop it."""
    for number in (signal.SIGHUP, signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    os.umask(0o077)
    os.chdir("/")
    result: Dict[str, Any] = {"ok": False, "steps": []}
    try:
        run = Run(order)
        result["steps"] = run.steps
        {"install": run.install, "remove": run.remove}[order["do"]]()
        result["ok"] = True
    except Stopped as problem:
        result["error"] = str(problem)
    except Exception as problem:  # noqa: BLE001 - the host reads this line, not a traceback
        result["error"] = "%s: %s" % (type(problem).__name__, problem)
    sys.stdout.write(json.dumps(result) + "\n")
