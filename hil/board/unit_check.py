"""Checks that a user cannot become root by restarting a service.

Python 3.6. Unknown keys of the unit's files, and values that do not match their patterns, are refused. The same rules
apply to systemd's loaded properties, and to each service that the unit starts.
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
"""Keys that name units that start with the service."""
RUNS_NOTHING = (".target", ".slice", ".mount", ".device", ".swap")
EXEC = re.compile(r"Exec[A-Z][A-Za-z]*")
RUN_AS_ROOT_REGARDLESS = re.compile(r"[@:|-]*[+!]")
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
    """Accept any value, for keys that cannot make the caller root unless the service runs as root."""


class Service(NamedTuple):
    """A service as systemd reports it, and the lines of its unit files."""

    properties: Dict[str, str]
    lines: List[Any]
    """(section, key, value) of each line of its unit files"""
    privileged: bool
    """whether it runs anything as root"""
    user: str


class Unchecked(Exception):
    """A service is refused; the text states why."""


class UnitCheck:
    """Checks a service and all services that it starts. ``helper`` is the module ``hil.board.helper``."""

    def __init__(self, helper: Any) -> None:
        self.helper = helper
        self.checked: Set[str] = set()

    def service(self, unit: str) -> None:
        """Raise ``Unchecked`` unless these checks show that restarting ``unit`` cannot make the caller root."""
        if unit in self.checked:
            return
        self.checked.add(unit)
        name = unit[: -len(".service")]
        privileged = True
        try:
            service = self._read(unit)
            privileged = service.privileged
            for line in service.lines:
                self._line(service, *line)
            self._check_properties(service)
        except self.helper.Refused as problem:
            if not privileged:
                raise Unchecked("service %s: %s: remove that from its unit" % (name, problem)) from None
            raise Unchecked(
                "service %s runs as root, and %s: restarting it could make its caller root: "
                "run it as a separate user (User=), let only root change its files, or remove what is not supported"
                % (name, problem)
            ) from None
        for other in self._started_units(service):
            if not other.endswith(RUNS_NOTHING):
                if not other.endswith(".service"):
                    raise Unchecked(
                        "service %s also starts %s, which is not checked: remove that from its unit" % (unit, other)
                    )
                self.service(other)

    def _read(self, unit: str) -> Service:
        name = unit[: -len(".service")]
        properties: Dict[str, str] = {}
        try:
            output = self.helper.run("systemctl", "show", "--property=" + ",".join(SHOWN), "--", unit)
        except self.helper.Refused as problem:
            raise Unchecked("service %s: %s" % (name, problem)) from None
        for line in output.splitlines():
            key, _, value = line.partition("=")
            properties[key] = (properties.get(key, "") + " " + value).strip()
        if properties.get("LoadState") != "loaded":
            raise Unchecked("this board has no service %s (%s)" % (name, properties.get("LoadState", "unknown")))
        if properties.get("NeedDaemonReload") == "yes":
            raise Unchecked(
                "the unit files of service %s have changed since systemd loaded them: run systemctl daemon-reload"
                % unit
            )
        files = properties.get("FragmentPath", "").split() + properties.get("DropInPaths", "").split()
        if not files:
            raise Unchecked("service %s has no unit file to check" % unit)
        lines: List[Any] = []
        for path in files:
            self.helper.trusted(path)
            lines += list(self._lines(unit, path))
        user = properties.get("User", "")
        as_root = any(EXEC.match(key) and RUN_AS_ROOT_REGARDLESS.match(value) for _, key, value in lines)
        return Service(properties, lines, as_root or self._is_root(unit, user), user)

    @staticmethod
    def _is_root(unit: str, user: str) -> bool:
        if not user or user.isdigit():
            return not user or int(user) == 0
        try:
            return pwd.getpwnam(user).pw_uid == 0
        except KeyError:
            raise Unchecked("service %s runs as %s, a user that this board does not have" % (unit, user)) from None

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
                raise Unchecked("service %s: %s has an unsupported line: %.80r" % (unit, path, line))
            yield section, key.strip(), value.strip()

    def _line(self, service: Service, section: str, key: str, value: str) -> None:
        """Check one assignment. An empty value resets earlier values of its key, which are checked nevertheless."""
        if section == "Install" or not value or HARMLESS.fullmatch(key) or key in STARTS:
            return
        check = self._check_of(service, key)
        if check is None:
            raise self.helper.Refused("its key %s= is not supported" % key)
        check(value)

    def _check_of(self, service: Service, key: str) -> Any:
        """Return the function that checks values of ``key``; ``None`` if the key is not supported."""
        if EXEC.fullmatch(key):
            return self._command if service.privileged else _anything
        if key in ("StandardOutput", "StandardError"):
            return lambda value: self._match(OUTPUT, value, "output")
        if key == "Group":
            return _anything if service.privileged else lambda value: self._group(service, value)
        return {
            "EnvironmentFile": self._environment_file if service.privileged else _anything,
            "Environment": self._environment if service.privileged else _anything,
            "WorkingDirectory": self._path if service.privileged else _anything,
        }.get(key)

    def _group(self, service: Service, value: str) -> None:
        """Refuse groups whose members can become root, such as docker, disk and shadow."""
        if value != service.user:
            self._match(GROUPS, value, "group")

    def _match(self, pattern: Any, value: str, what: str) -> None:
        if not pattern.fullmatch(value):
            raise self.helper.Refused("its %s %.80r is not supported" % (what, value))

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

    def _check_properties(self, service: Service) -> None:
        """Check the properties that systemd has loaded. They may differ from the unit files."""
        properties = service.properties
        for key in ("RootDirectory", "RootImage"):
            if properties.get(key):
                raise self.helper.Refused("its key %s= is not supported" % key)
        if not service.privileged:
            return
        for word in properties.get("Environment", "").split():
            self._environment(word)
        if properties.get("WorkingDirectory", "") not in ("", "!"):
            self._path(properties["WorkingDirectory"].lstrip("!-"))
        for word in re.sub(r"\(ignore_errors=(yes|no)\)", "", properties.get("EnvironmentFiles", "")).split():
            self._environment_file(word)
        commands = " ".join(value for key, value in properties.items() if EXEC.fullmatch(key))
        for path in re.findall(r"(?:^|[\s=:\"'])(/[^\s;\"']*)", commands):
            self._path(path)

    @staticmethod
    def _started_units(service: Service) -> List[str]:
        in_files = [value for _, key, value in service.lines if key in STARTS]
        return [
            word for text in (*in_files, *(service.properties.get(key, "") for key in STARTS)) for word in text.split()
        ]
