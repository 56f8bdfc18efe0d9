"""Checks that a user cannot become root by restarting a service. Everything not listed here is refused. Python 3.6.

The unit's files are checked key by key: an unlisted key, or a value that does not match its pattern completely, is
refused. The same rules apply to what systemd has loaded, and to each service that the unit starts.
"""

import os
import pwd
import re
from typing import Any, Dict, Iterator, List, NamedTuple, Set

SHOWN = (
    "LoadState",
    "NeedDaemonReload",
    "FragmentPath",
    "DropInPaths",
    "User",
    "EnvironmentFiles",
    "Environment",
    "WorkingDirectory",
    "RootDirectory",
    "RootImage",
    "Requires",
    "Requisite",
    "Wants",
    "BindsTo",
    "Upholds",
    "OnFailure",
    "OnSuccess",
    "ExecStartPre",
    "ExecStart",
    "ExecStartPost",
    "ExecReload",
    "ExecStop",
    "ExecStopPost",
)
STARTS = ("Requires", "Requisite", "Wants", "BindsTo", "Upholds", "OnFailure", "OnSuccess")
"""Keys that name units to be started with the service."""
RUNS_NOTHING = (".target", ".slice", ".mount", ".device", ".swap")
EXEC = re.compile(r"Exec[A-Z][A-Za-z]*")
AS_ROOT_ALL_THE_SAME = re.compile(r"[@:|-]*[+!]")
HARMLESS = re.compile(
    r"Description|Documentation|After|Before|PartOf|DefaultDependencies|RequiresMountsFor|StartLimit[A-Za-z]+"
    r"|Condition[A-Za-z]+|Assert[A-Za-z]+|Type|Restart|RestartSec|Timeout[A-Za-z]*Sec|WatchdogSec|RemainAfterExit"
    r"|KillMode|KillSignal|SendSIGKILL|SuccessExitStatus|RestartPreventExitStatus|GuessMainPID|NotifyAccess|User|Nice"
    r"|OOMScoreAdjust|OOMPolicy|Limit[A-Z]+|CPU[A-Za-z]+|IO[A-Za-z]+|Memory(Max|High|Low|Min)|TasksMax|SyslogIdentifier"
    r"|Slice|UMask|(Runtime|State|Cache|Logs|Configuration)Directory(Mode)?|NoNewPrivileges|Protect[A-Za-z]+"
    r"|Private(Tmp|Devices|Network|Users)|Restrict[A-Za-z]+|LockPersonality|MemoryDenyWriteExecute|SystemCall[A-Za-z]+"
)
"""Keys whose values start no program, name no file that a program loads, and grant no rights."""
OUTPUT = re.compile(r"journal|null|inherit|syslog|kmsg|journal\+console|syslog\+console")
GROUPS = re.compile(r"video|render|audio|input|dialout|plugdev|i2c|gpio|users|nogroup")
VARIABLE = re.compile(
    r"(LANG|LC_[A-Z]+|TZ|TERM|DISPLAY|ROS_DOMAIN_ID|ROS_LOCALHOST_ONLY|OMP_NUM_THREADS|CUDA_VISIBLE_DEVICES"
    r"|CUDA_DEVICE_ORDER|CUDA_LAUNCH_BLOCKING|PYTHONUNBUFFERED)=[A-Za-z0-9_.,:@+-]*"
)
"""Variables that name no file. Others are refused, since a program may use them to load files."""
PATH = re.compile(r"/[A-Za-z0-9_.+@/-]*")
WORD = re.compile(r"[A-Za-z0-9_.,:=+@-]*")
OPTION_WITH_PATH = re.compile(r"-{0,2}[A-Za-z0-9_-]+=(/[A-Za-z0-9_.+@/-]*)")


def _anything(value: str) -> None:
    """Accept any value: a service that does not run as root cannot give its caller root."""


class Service(NamedTuple):
    """A service: systemd's properties, the lines of its files (section, key, value), whether root runs it, its user."""

    shown: Dict[str, str]
    lines: List[Any]
    privileged: bool
    user: str


class Unchecked(Exception):
    """Why a service is refused."""


class UnitCheck:
    """Checks a service and all that it starts; ``helper`` has ``run``, ``trusted``, ``text_of``, ``Refused``."""

    def __init__(self, helper: Any) -> None:
        self.helper = helper
        self.checked: Set[str] = set()

    def service(self, unit: str) -> None:
        """Raise ``Unchecked`` unless restarting ``unit`` is proven not to give the caller root."""
        if unit in self.checked:
            return
        self.checked.add(unit)
        name = unit[: -len(".service")]
        privileged = True
        try:
            found = self._read(unit)
            privileged = found.privileged
            for line in found.lines:
                self._line(found, *line)
            self._loaded(found)
        except self.helper.Refused as problem:
            if not privileged:
                raise Unchecked("service %s: %s: take that out of its unit" % (name, problem)) from None
            raise Unchecked(
                "service %s runs as root, and %s: whoever restarts it would be root; "
                "give it a User= of its own, or make that root's alone" % (name, problem)
            ) from None
        for other in self._started(found):
            if not other.endswith(RUNS_NOTHING):
                if not other.endswith(".service"):
                    raise Unchecked("service %s starts %s, too, which is not checked: take that out" % (unit, other))
                self.service(other)

    def _read(self, unit: str) -> Service:
        name = unit[: -len(".service")]
        shown: Dict[str, str] = {}
        try:
            told = self.helper.run("systemctl", "show", "--property=" + ",".join(SHOWN), "--", unit)
        except self.helper.Refused as problem:
            raise Unchecked("service %s: %s" % (name, problem)) from None
        for line in told.splitlines():
            key, _, value = line.partition("=")
            shown[key] = (shown.get(key, "") + " " + value).strip()
        if shown.get("LoadState") != "loaded":
            raise Unchecked("this board has no service %s (%s)" % (name, shown.get("LoadState", "unknown")))
        if shown.get("NeedDaemonReload") == "yes":
            raise Unchecked("service %s is not as its files say: run systemctl daemon-reload" % unit)
        files = shown.get("FragmentPath", "").split() + shown.get("DropInPaths", "").split()
        if not files:
            raise Unchecked("service %s has no unit file that could be checked" % unit)
        lines: List[Any] = []
        for path in files:
            self.helper.trusted(path)
            lines += list(self._lines(unit, path))
        user = shown.get("User", "")
        as_root = any(EXEC.match(key) and AS_ROOT_ALL_THE_SAME.match(value) for _, key, value in lines)
        return Service(shown, lines, as_root or self._is_root(unit, user), user)

    @staticmethod
    def _is_root(unit: str, user: str) -> bool:
        if not user or user.isdigit():
            return not user or int(user) == 0
        try:
            return pwd.getpwnam(user).pw_uid == 0
        except KeyError:
            raise Unchecked("service %s runs as %s, whom this board does not know" % (unit, user)) from None

    def _lines(self, unit: str, path: str) -> Iterator[Any]:
        section = ""
        for raw in self.helper.text_of(path).splitlines():
            line = raw.strip()
            if not line or line[0] in "#;":
                continue
            header = re.match(r"\[([A-Za-z-]+)\]$", line)
            if header is not None:
                section = header.group(1)
                continue
            key, is_pair, value = line.partition("=")
            if not is_pair or line.endswith("\\") or section not in ("Unit", "Service", "Install") or "\ufffd" in line:
                raise Unchecked("service %s: %s has a line that is not checked: %.80r" % (unit, path, line))
            yield section, key.strip(), value.strip()

    def _line(self, found: Service, section: str, key: str, value: str) -> None:
        """Check one assignment; an empty value resets earlier ones, which are checked nevertheless."""
        if section == "Install" or not value or HARMLESS.fullmatch(key) or key in STARTS:
            return
        check = self._special(found, key)
        if check is None:
            raise self.helper.Refused("its key %s= is not one that is checked" % key)
        check(value)

    def _special(self, found: Service, key: str) -> Any:
        """Return the check of the values of ``key``; ``None`` if the key is not supported."""
        if EXEC.fullmatch(key):
            return self._command if found.privileged else _anything
        if key in ("StandardOutput", "StandardError"):
            return lambda value: self._match(OUTPUT, value, "output")
        if key == "Group":
            return _anything if found.privileged else lambda value: self._group(found, value)
        return {
            "EnvironmentFile": self._environment_file if found.privileged else _anything,
            "Environment": self._environment if found.privileged else _anything,
            "WorkingDirectory": self._path if found.privileged else _anything,
        }.get(key)

    def _group(self, found: Service, value: str) -> None:
        """Refuse groups that amount to root, such as docker, disk and shadow."""
        if value != found.user:
            self._match(GROUPS, value, "group")

    def _match(self, pattern: Any, value: str, what: str) -> None:
        if not pattern.fullmatch(value):
            raise self.helper.Refused("its %s %.80r is not one that is checked" % (what, value))

    def _path(self, value: str) -> None:
        """Check that only root can change the path; if it does not exist, check its nearest existing folder."""
        self._match(PATH, value, "path")
        path = value
        while not os.path.lexists(path):
            path = os.path.dirname(path)
        self.helper.trusted(path)

    def _command(self, value: str) -> None:
        program, *arguments = value.lstrip("-+!").split()
        self._path(program)
        self.helper.trusted(program)
        for word in arguments:
            option = OPTION_WITH_PATH.fullmatch(word)
            if option is not None or word.startswith("/"):
                self._path(word if option is None else option.group(1))
            else:
                self._match(WORD, word, "argument")

    def _environment(self, value: str) -> None:
        for word in value.split():
            self._match(VARIABLE, word.strip('"'), "variable")

    def _environment_file(self, value: str) -> None:
        path = value[1:] if value.startswith("-") else value
        self._path(path)
        if os.path.lexists(path):
            for line in self.helper.text_of(self.helper.trusted(path)).splitlines():
                if line.strip() and line.strip()[0] not in "#;":
                    self._environment(line.strip())

    def _loaded(self, found: Service) -> None:
        """Check the properties that systemd has loaded, which may differ from the files or come from elsewhere."""
        shown = found.shown
        for key in ("RootDirectory", "RootImage"):
            if shown.get(key):
                raise self.helper.Refused("its key %s= is not one that is checked" % key)
        if not found.privileged:
            return
        for word in shown.get("Environment", "").split():
            self._environment(word)
        if shown.get("WorkingDirectory", "") not in ("", "!"):
            self._path(shown["WorkingDirectory"].lstrip("!-"))
        for word in re.sub(r"\(ignore_errors=(yes|no)\)", "", shown.get("EnvironmentFiles", "")).split():
            self._environment_file(word)
        commands = " ".join(value for key, value in shown.items() if EXEC.fullmatch(key))
        for path in re.findall(r"(?:^|[\s=:\"'])(/[^\s;\"']*)", commands):
            self._path(path)

    @staticmethod
    def _started(found: Service) -> List[str]:
        written = [value for _, key, value in found.lines if key in STARTS]
        return [word for text in (*written, *(found.shown.get(key, "") for key in STARTS)) for word in text.split()]
