#!/usr/bin/python3 -IS
"""The board operations that need root; ``hil board setup`` installs it as ``/usr/local/sbin/pytest-hil-helper``.

One user may start it by sudo, without a password. Each line of input is a command, which the helper answers with a line
of JSON. It undoes its changes when its input ends; if it is killed, the next helper undoes them.
``docs/board-setup.md`` explains the design. It is one file for Python 3.6 without other packages.
"""

import contextlib
import fcntl
import json
import os
import re
import resource
import select
import signal
import stat
import subprocess
import sys
import syslog
import time
from typing import Any, Callable, Dict, Iterator, List, Optional, Tuple

VERSION = 2
STATE = "/run/pytest-hil"
SERVICES = "/etc/pytest-hil/services"
MODES = "/etc/nvpmodel.conf"
NVMAP = "/sys/kernel/debug/nvmap/iovmm/clients"
EMC = "/sys/kernel/debug/bpmp/debug/clk/emc"
PROGRAMS = {
    "nvpmodel": ("/usr/sbin/nvpmodel",),
    "jetson_clocks": ("/usr/bin/jetson_clocks",),
    "systemctl": ("/usr/bin/systemctl", "/bin/systemctl"),
}
ENVIRONMENT = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C", "HOME": "/"}
LINE = re.compile(r"[a-z_]{1,16}( [A-Za-z0-9][A-Za-z0-9@_.:+-]{0,99}){0,2}")
LONGEST = 256  # maximum length of a line in bytes
RUNNING = ("active", "activating", "reloading", "refreshing")
STOPPED = ("inactive", "failed")
ENDINGS = ("TERM", "HUP", "INT", "QUIT", "TSTP", "TTIN", "TTOU", "ALRM", "PROF", "VTALRM", "USR1", "USR2")
QUICK, SLOW = 30.0, 150.0  # seconds; SLOW is for services, for which systemd's own stop timeout is 90
ENDING = 20.0  # seconds within which a stopped unit must show as stopped
FIXES = {"clocks": "sudo jetson_clocks --restore %s/clocks" % STATE, "mode": "sudo nvpmodel -m %s"}
FIXES["service"] = "sudo systemctl start %s"


class Refused(Exception):
    """The request is refused; the text states why and is sent to the caller."""


def trusted(path: str) -> str:
    """Return ``path`` with its links resolved. Raise ``Refused`` if users other than root can change it."""
    at, rest = "/", path.split("/")
    for _ in range(200):
        try:
            status = os.lstat(at)
            link = os.readlink(at) if stat.S_ISLNK(status.st_mode) else None
        except OSError as problem:
            raise Refused("%s: %s" % (at, problem.strerror)) from None
        if status.st_uid != 0 or (link is None and status.st_mode & 0o022):
            raise Refused("%s can be changed by users other than root" % at)
        if link is not None:
            at, rest = "/" if link.startswith("/") else os.path.dirname(at), link.split("/") + rest
            continue
        while rest and rest[0] in ("", "."):
            rest.pop(0)
        if not rest:
            return at
        word = rest.pop(0)
        at = os.path.dirname(at) if word == ".." else os.path.join(at, word)
    raise Refused("%s has too many symbolic links" % path)


def text_of(path: str) -> str:
    """Return the first 1 MiB of a file as text. Raise ``Refused`` if it cannot be read."""
    try:
        with open(path, "rb") as file:
            return file.read(1 << 20).decode("ascii", "replace")
    except OSError as problem:
        raise Refused("%s: %s" % (path, problem.strerror)) from None


def run(name: str, *arguments: str, **limit: float) -> str:
    """Run one of ``PROGRAMS`` and return its output. ``seconds=`` is its time limit, ``QUICK`` by default.

    Raise ``Refused`` if the program is missing, can be changed by users other than root, fails or takes too long.
    """
    installed = [path for path in PROGRAMS[name] if os.path.lexists(path)]
    if not installed:
        raise Refused("this board has no %s" % PROGRAMS[name][0])
    child = subprocess.Popen(
        [trusted(installed[0]), *arguments],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        cwd="/",
        env=ENVIRONMENT,
        preexec_fn=lambda: os.umask(0o022),  # noqa: PLW1509 - there are no threads; nvpmodel's own files stay readable
        start_new_session=True,
    )
    try:
        output = child.communicate(timeout=limit.get("seconds", QUICK))[0].decode("ascii", "replace")
    except subprocess.TimeoutExpired:
        os.killpg(child.pid, signal.SIGKILL)
        with contextlib.suppress(subprocess.TimeoutExpired):
            child.communicate(timeout=5)
        raise Refused("%s did not exit in time" % name) from None
    if child.returncode != 0:
        raise Refused("%s exited with code %d: %s" % (name, child.returncode, output.strip()[-200:]))
    return output


def locked(shown: str) -> Optional[bool]:
    """Return whether ``shown``, the output of ``jetson_clocks --show``, reports locked clocks.

    The limits of the GPU and of each online CPU must be equal, and the memory must run at its highest clock. Return
    None if a limit of GPU or CPU is missing.
    """
    rows = [(line.split(" ")[0], dict(re.findall(r"(\w+)=(\S+)", line))) for line in shown.splitlines()]
    gpu = [row for name, row in rows if name == "GPU"]
    cpu = [row for name, row in rows if re.match(r"cpu\d+:$", name) and row.get("Online") == "1"]
    if not gpu or not cpu or not all("MinFreq" in row and "MaxFreq" in row for row in gpu + cpu):
        return None
    emc = [row for name, row in rows if name == "EMC"]
    return all(row["MinFreq"] == row["MaxFreq"] for row in gpu + cpu) and all(
        row.get("CurrentFreq") == row.get("MaxFreq") for row in emc
    )


def power_modes(conf: str) -> Dict[int, Tuple[str, Dict[str, str]]]:
    """Return the name and the power-gating masks of each mode in nvpmodel.conf, by mode number."""
    modes: Dict[int, Tuple[str, Dict[str, str]]] = {}
    masks: Dict[str, str] = {}
    for line in conf.splitlines():
        head = re.match(r"\s*<\s*POWER_MODEL\s+ID=(\d+)\s+NAME=(\S+)\s*>", line)
        words = line.split()
        if head or words[:1] == ["<"]:
            masks = {}
        if head:
            modes[int(head.group(1))] = head.group(2), masks
        elif len(words) == 3 and words[1].endswith("PG_MASK"):
            masks[words[1]] = words[2]
    return modes


def current_mode(modes: Dict[int, Tuple[str, Dict[str, str]]]) -> int:
    """Return the number of the current power mode. Raise ``Refused`` if nvpmodel reports none of ``modes``."""
    reported = re.search(r"^NV Power Mode: *\S+\s*\n(\d+)\s*$", run("nvpmodel", "-q"), re.MULTILINE)
    if not reported or int(reported.group(1)) not in modes:
        raise Refused("nvpmodel does not report a mode that %s lists" % MODES)
    return int(reported.group(1))


def set_mode(modes: Dict[int, Tuple[str, Dict[str, str]]], number: int) -> None:
    """Set the power mode ``number`` of ``modes``. Raise ``Refused`` unless nvpmodel then reports this mode."""
    run("nvpmodel", "-m", str(number))
    if current_mode(modes) != number:
        raise Refused("nvpmodel did not change to mode %s" % modes[number][0])


def unit_of(name: str) -> str:
    """Return the unit name of a service. Raise ``Refused`` if the file ``SERVICES`` does not list the service."""
    listed = [line for line in text_of(trusted(SERVICES)).split("\n") if line]
    if name not in listed or not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9@_.:-]{0,99}", name):
        raise Refused("%s lists no service %s" % (SERVICES, name))
    return name if name.endswith(".service") else name + ".service"


def state_of(unit: str) -> str:
    """Return systemd's ``ActiveState`` of a unit."""
    return run("systemctl", "show", "--property=ActiveState", "--value", "--", unit).strip()


def is_running(unit: str) -> bool:
    """Return whether a unit is running, starting or reloading."""
    return state_of(unit) in RUNNING


def wait_until_stopped(unit: str) -> None:
    """Wait while systemd stops a unit, at most ``ENDING`` seconds. Raise ``Refused`` unless it is stopped then."""
    until = time.monotonic() + ENDING
    state = state_of(unit)
    while state == "deactivating" and time.monotonic() < until:
        time.sleep(0.1)
        state = state_of(unit)
    if state not in STOPPED:
        raise Refused("%s is %s after it was stopped" % (unit, state or "in an unknown state"))


class Changes:
    """The record of the helpers' changes in the folder ``STATE``, which only root can read.

    A helper locks the file ``gate`` during a change. While it relies on changes, it holds a shared lock on the file
    ``users``; the last helper to release this lock undoes all changes.
    """

    def __init__(self) -> None:
        with contextlib.suppress(FileExistsError):
            os.mkdir(STATE, 0o700)
        self.folder = os.open(trusted(STATE), os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        if os.fstat(self.folder).st_mode & 0o777 != 0o700:
            raise Refused("%s is open to users other than root" % STATE)
        self.users = -1

    def _open(self, name: str, flags: int) -> int:
        return os.open(name, flags | os.O_NOFOLLOW, 0o600, dir_fd=self.folder)

    @contextlib.contextmanager
    def turn(self, seconds: float = QUICK) -> Iterator[bool]:
        """Lock out other helpers within the context; yield whether this is the only helper that relies on changes.

        From then on, this helper relies on changes. Raise ``Refused`` if another helper holds the lock for longer than
        ``seconds``.
        """
        gate, until = self._open("gate", os.O_RDWR | os.O_CREAT), time.monotonic() + seconds
        try:
            while True:
                try:
                    fcntl.flock(gate, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    if time.monotonic() > until:
                        raise Refused("another helper is busy changing the board: try again") from None
                    time.sleep(0.02)
            if self.users < 0:
                self.users = self._open("users", os.O_RDWR | os.O_CREAT)
            try:
                fcntl.flock(self.users, fcntl.LOCK_EX | fcntl.LOCK_NB)
                alone = True
            except BlockingIOError:
                alone = False
            fcntl.flock(self.users, fcntl.LOCK_SH)  # does not block: exclusive locks exist only within the gate
            yield alone
        finally:
            os.close(gate)

    def read(self) -> List[List[Any]]:
        """Return the recorded changes, oldest first: ``["clocks"]``, ``["mode", number]`` and ``["service", unit]``.

        ``number`` is the earlier power mode.
        """
        try:
            with os.fdopen(self._open("undo", os.O_RDONLY), "r") as file:
                entries: List[List[Any]] = json.load(file)
        except FileNotFoundError:
            return []
        return entries

    def write(self, entries: List[List[Any]]) -> None:
        """Replace the record; callers record a change before they make it."""
        with os.fdopen(self._open("undo.new", os.O_WRONLY | os.O_CREAT | os.O_TRUNC), "w") as file:
            json.dump(entries, file)
        os.rename("undo.new", "undo", src_dir_fd=self.folder, dst_dir_fd=self.folder)

    def note(self, entry: List[Any]) -> None:
        """Record a change that is about to be made."""
        syslog.syslog("changing: %s" % " ".join(map(str, entry)))
        self.write([*self.read(), entry])

    def forget(self, entry: List[Any]) -> None:
        """Remove a change from the record, after it was undone."""
        self.write([other for other in self.read() if other != entry])

    def store_clocks(self) -> None:
        """Save the current clocks atomically, for ``undo``. Raise ``Refused`` if jetson_clocks stores nothing."""
        with contextlib.suppress(FileNotFoundError):
            os.unlink("clocks.new", dir_fd=self.folder)  # jetson_clocks prompts before it overwrites a file
        run("jetson_clocks", "--store", STATE + "/clocks.new")
        if not os.stat("clocks.new", dir_fd=self.folder, follow_symlinks=False).st_size:
            raise Refused("jetson_clocks stored nothing")
        os.rename("clocks.new", "clocks", src_dir_fd=self.folder, dst_dir_fd=self.folder)

    def undo(self, entry: List[Any]) -> None:
        """Undo one change. Raise ``Refused`` if the board does not show the earlier state afterwards."""
        kind = entry[0]
        if kind == "clocks":
            run("jetson_clocks", "--restore", STATE + "/clocks")
            if locked(run("jetson_clocks", "--show")):
                raise Refused("the clocks are still locked")
        elif kind == "mode":
            set_mode(power_modes(text_of(trusted(MODES))), entry[1])
        else:
            run("systemctl", "start", "--", entry[1], seconds=SLOW)
            if not is_running(entry[1]):
                raise Refused("%s is not running" % entry[1])
        self.forget(entry)
        syslog.syslog("restored: %s" % " ".join(map(str, entry)))

    def undo_all(self) -> List[Dict[str, str]]:
        """Undo all changes, newest first, with up to two attempts each; return those that failed and stay recorded."""
        left = []
        for entry in reversed(self.read()):
            for attempt in (1, 2):
                try:
                    self.undo(entry)
                    break
                except Exception as problem:  # noqa: BLE001 - the other changes must still be undone
                    syslog.syslog(syslog.LOG_ERR, "not restored (attempt %d): %s: %s" % (attempt, entry, problem))
                    why = str(problem) or type(problem).__name__
            else:
                fix = FIXES[entry[0]]
                what = " ".join(map(str, entry))
                left.append({"what": what, "why": why, "mend": fix % entry[1] if "%s" in fix else fix})
        return left

    def leave(self, seconds: float) -> Dict[str, Any]:
        """Stop relying on changes, and undo all if no other helper relies on them.

        Return ``left``, the changes that could not be undone, and ``deferred``: whether another helper will undo them.
        Raise ``Refused`` as ``turn`` does.
        """
        try:
            with self.turn(seconds) as alone:
                left = self.undo_all() if alone else []
                return {"left": left, "deferred": not alone and bool(self.read())}
        finally:
            if self.users >= 0:
                os.close(self.users)
            self.users = -1


class Verbs:
    """One method for each command. Each returns its answer as a dict, or raises ``Refused``."""

    def __init__(self) -> None:
        self.changes = Changes()
        if self.changes.read():
            with contextlib.suppress(Refused):  # busy: a running helper will undo them
                self.changes.leave(0)  # undo the changes of a killed helper, unless a running one relies on them

    def version(self) -> Dict[str, Any]:
        return {"version": VERSION, "python": "%d.%d.%d" % sys.version_info[:3]}

    def nvmap(self) -> Dict[str, Any]:
        return {"text": text_of(NVMAP)}

    def emc(self) -> Dict[str, Any]:
        rates: Dict[str, Any] = {}
        for name in ("rate", "min_rate", "max_rate"):
            rate = text_of("%s/%s" % (EMC, name)).strip()
            rates[name] = int(rate) if rate.isdigit() else None
        return rates

    def drop_caches(self) -> Dict[str, Any]:
        os.sync()
        with open("/proc/sys/vm/drop_caches", "w") as file:
            file.write("3\n")
        return {}

    def clocks(self, what: str) -> Dict[str, Any]:
        if what == "show":
            shown = run("jetson_clocks", "--show")
            return {"text": shown, "locked": locked(shown), "saved": ["clocks"] in self.changes.read()}
        if what == "lock":
            return self._lock()
        if what != "restore":
            raise Refused("unknown command: use clocks show, clocks lock or clocks restore")
        with self.changes.turn() as alone:
            return self._undo_now(["clocks"], alone=alone)

    def _lock(self) -> Dict[str, Any]:
        with self.changes.turn():
            before = locked(run("jetson_clocks", "--show"))
            saved = ["clocks"] in self.changes.read()
            if before:
                return {"changed": False, "saved": saved, "locked": True}
            if not saved:
                self.changes.store_clocks()
                self.changes.note(["clocks"])
            run("jetson_clocks")
            return {"changed": True, "saved": True, "locked": locked(run("jetson_clocks", "--show"))}

    def _undo_now(self, entry: List[Any], *, alone: bool) -> Dict[str, Any]:
        if entry not in self.changes.read():
            return {"changed": False}
        if not alone:
            why = "another session relies on this change; the last session to end undoes it"
            return {"changed": False, "deferred": why}
        self.changes.undo(entry)
        return {"changed": True}

    def restore(self) -> Dict[str, Any]:
        return self.changes.leave(QUICK)

    def mode(self, name: str) -> Dict[str, Any]:
        modes = power_modes(text_of(trusted(MODES)))
        numbers = [number for number, (known, _) in modes.items() if known == name]
        if len(numbers) != 1:
            raise Refused(
                "no power mode %s: choose one of %s" % (name, ", ".join(known for known, _ in modes.values()))
            )
        with self.changes.turn() as alone:
            before = current_mode(modes)
            if before == numbers[0]:
                return {"changed": False, "mode": name}
            if not alone:
                raise Refused("another session relies on mode %s" % modes[before][0])
            listed = self.changes.read()
            if ["clocks"] in listed:
                raise Refused(
                    "the clocks are locked in mode %s: set the mode before locking the clocks" % modes[before][0]
                )
            if modes[before][1] != modes[numbers[0]][1]:
                raise Refused(
                    "from mode %s to %s the GPU's power-gating masks differ (%s, %s): changing them takes a reboot"
                    % (modes[before][0], name, modes[before][1], modes[numbers[0]][1])
                )
            if not any(entry[0] == "mode" for entry in listed):
                self.changes.note(["mode", before])
            set_mode(modes, numbers[0])
            return {"changed": True, "mode": name, "before": modes[before][0]}

    def service(self, what: str, name: str) -> Dict[str, Any]:
        unit = unit_of(name)
        entry = ["service", unit]
        if what == "show":
            return {"state": state_of(unit)}
        with self.changes.turn() as alone:
            if what == "stop":
                if not is_running(unit):
                    wait_until_stopped(unit)
                    return {"changed": False}
                if entry not in self.changes.read():
                    self.changes.note(entry)
                run("systemctl", "stop", "--", unit, seconds=SLOW)
                wait_until_stopped(unit)
                return {"changed": True}
            if what == "start":
                if entry not in self.changes.read() and not is_running(unit):
                    raise Refused("%s was not stopped by this helper: restart it instead" % name)
                return self._undo_now(entry, alone=alone)
            if what != "restart":
                raise Refused("unknown command: use service show, service stop, service start or service restart")
            if entry in self.changes.read():
                raise Refused("%s is stopped for a measurement: try again after the measurement" % name)
            run("systemctl", "restart", "--", unit, seconds=SLOW)
            return {"changed": True, "running": is_running(unit)}


VERBS: Dict[str, Tuple[int, Callable[..., Dict[str, Any]]]] = {
    "version": (0, Verbs.version),
    "nvmap": (0, Verbs.nvmap),
    "emc": (0, Verbs.emc),
    "drop_caches": (0, Verbs.drop_caches),
    "clocks": (1, Verbs.clocks),
    "mode": (1, Verbs.mode),
    "restore": (0, Verbs.restore),
    "service": (2, Verbs.service),
}


def answer(verbs: Verbs, line: bytes) -> Dict[str, Any]:
    """Execute one command line and return its answer. An invalid line has no effect."""
    words = line.decode("latin-1")
    verb, *rest = words.split(" ")
    if not LINE.fullmatch(words) or verb not in VERBS or len(rest) != VERBS[verb][0]:
        return {"ok": False, "error": "no such command"}
    try:
        return dict(VERBS[verb][1](verbs, *rest), ok=True)
    except Refused as problem:
        return {"ok": False, "error": str(problem)}
    except Exception as problem:  # noqa: BLE001 - the helper must live on to undo its changes
        syslog.syslog(syslog.LOG_ERR, "%s: %r" % (verb, problem))
        return {"ok": False, "error": "%s failed: %s" % (verb, type(problem).__name__)}


class Caller:
    """Reads lines from standard input and writes answers to standard output; a signal counts as the end of input."""

    def __init__(self) -> None:
        self.rest = b""
        self.wake, wakes = os.pipe()
        os.set_blocking(wakes, False)
        signal.set_wakeup_fd(wakes)
        for number in ENDINGS:
            # ``line`` notices the signal at ``wake``, between two commands: no command is interrupted.
            signal.signal(getattr(signal, "SIG" + number), lambda *_: None)

    def line(self) -> Optional[bytes]:
        """Return the next line, or the start of one that is longer than ``LONGEST``.

        Return None at the end of input, after a signal, or if nobody reads the answers.
        """
        poll = select.poll()
        for descriptor, events in ((0, select.POLLIN), (1, 0), (self.wake, select.POLLIN)):
            poll.register(descriptor, events)
        while True:
            line, end, rest = self.rest.partition(b"\n")
            if end:
                self.rest = rest
            if end or len(line) > LONGEST:
                return line
            ready = dict(poll.poll())
            piece = b"" if 1 in ready or self.wake in ready else os.read(0, LONGEST)
            if not piece:
                return None
            self.rest += piece

    def write(self, fields: Dict[str, Any]) -> bool:
        """Write an answer; return False if the output was closed or nobody read it for 10 s."""
        data = json.dumps(fields).encode("ascii") + b"\n"
        poll = select.poll()
        poll.register(1, select.POLLOUT)
        while data:
            ready = poll.poll(10000)  # ms
            if not ready or ready[0][1] != select.POLLOUT:
                return False
            data = data[os.write(1, data[: select.PIPE_BUF]) :]
        return True


def settle() -> None:
    """Reset environment, descriptors, limits, signals and working directory. Raise OSError or ValueError on failure."""
    os.environ.clear()
    os.umask(0o077)
    os.chdir("/")
    for descriptor in (0, 1, 2):
        try:
            os.fstat(descriptor)
        except OSError:  # noqa: PERF203 - only three descriptors
            os.open("/dev/null", os.O_RDWR)  # otherwise the next file opened would become a standard stream
    os.closerange(3, 4096)
    for limit in (resource.RLIMIT_FSIZE, resource.RLIMIT_CPU, resource.RLIMIT_AS, resource.RLIMIT_DATA):
        resource.setrlimit(limit, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    resource.setrlimit(resource.RLIMIT_NOFILE, (1024, 4096))
    signal.setitimer(signal.ITIMER_REAL, 0)
    for action in (signal.SIG_IGN, signal.SIG_DFL):
        signal.signal(signal.SIGALRM, action)  # SIG_IGN discards a pending alarm of an expired timer
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # if ignored, exit codes of programs would be lost
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    with contextlib.suppress(OSError), open("/proc/self/oom_score_adj", "w") as file:
        file.write("0")  # not negative: the kernel may kill helpers when memory runs out


def main() -> int:
    """Serve one caller; return the exit code."""
    if os.geteuid() != 0 or len(sys.argv) != 1:
        sys.stderr.write("pytest-hil-helper: run it as root and without arguments\n")
        return 64
    try:
        settle()
    except (OSError, ValueError) as problem:
        sys.stderr.write("pytest-hil-helper: the caller's limits cannot be reset: %s\n" % problem)
        return 1
    syslog.openlog("pytest-hil-helper", syslog.LOG_PID, syslog.LOG_DAEMON)
    caller = Caller()
    try:
        verbs = Verbs()
    except Refused as problem:
        caller.write({"ok": False, "error": str(problem)})
        return 1
    try:
        line = caller.line()
        while line is not None and caller.write(answer(verbs, line)) and len(line) <= LONGEST:
            line = caller.line()
    except OSError:
        return 1  # the input or output is closed: there is no caller any more
    finally:
        if verbs.changes.users >= 0:
            verbs.changes.leave(2 * SLOW)
    return 0


if __name__ == "__main__":
    sys.exit(main())
