"""``hil board setup`` and ``remove`` on a board with the real sudo; a setup that is refused grants the user nothing."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
from typing import TYPE_CHECKING, Any

import pytest

from hil.board import install
from hil.board.as_root import PROGRAM, SERVICES, SUDOERS
from hil.config.spec import TargetSpec
from hil.errors import LabError, UserError
from hil.targets.target import Done, Target
from tests.board import inside
from tests.board.sandbox import AS_USER, SOURCE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hil.targets.client import AgentClient
    from tests.board.sandbox import Sandbox

LINE = f'hil ALL=(root) NOPASSWD: {PROGRAM} ""'
BY_PASSWORD = f"{inside.USER} ALL=(ALL) ALL\n"
ORDER = {"do": "install", "user": "hil", "services": [], "sudoers": LINE + "\n"}
UNIT = "LoadState=loaded\nFragmentPath=/etc/robot.service\nDropInPaths=\nUser={user}\nEnvironmentFiles={env}\n"
EXEC = "ExecStart={{ path=/usr/bin/python3 ; argv[]=/usr/bin/python3 {program} ; ignore_errors=no ; pid=0 }}\n"


class Inside(Target):
    """The user of a sandbox as a target, without a network in between."""

    def __init__(self, sandbox: Sandbox, *, root: bool = False, cut: int | None = None) -> None:
        super().__init__("orin", TargetSpec())
        self.sandbox, self.root, self.cut = sandbox, root, cut
        self.ran: list[Sequence[str]] = []

    def start_agent(self) -> AgentClient:
        raise NotImplementedError

    def run(self, argv: Sequence[str], stdin: bytes = b"", timeout: float = 60.0) -> Done:
        self.ran.append(argv)
        command = [*self.sandbox.into, *(() if self.root else AS_USER), *argv]
        sent = stdin[: self.cut]
        done = subprocess.run(command, input=sent, capture_output=True, check=False, timeout=timeout, cwd="/")
        return Done(done.returncode, done.stdout, done.stderr)


def password(_: str) -> str:
    """Return the password of the sandbox's user."""
    return inside.PASSWORD


def no_password(prompt: str) -> str:
    """Fail the test: no password may be requested."""
    pytest.fail(f"asked for {prompt}")


def allow_by_password(sandbox: Sandbox) -> None:
    """Allow the user to run any program by sudo with the password."""
    sandbox.place("/etc/sudoers.d/lab", BY_PASSWORD, 0o440)


def add_service(
    sandbox: Sandbox, *, user: str = "", program: str = "/usr/bin/true", env: str = "", lines: str = ""
) -> None:
    """Add the service ``robot`` to systemd."""
    sandbox.place("/etc/robot.service", f"[Service]\nExecStart=/usr/bin/python3 {program}\n{lines}")
    shown = UNIT.format(user=user, env=env) + EXEC.format(program=program)
    sandbox.fake("shown/robot.service").write_text(shown)
    sandbox.fake("units/robot.service").write_text("active\n")


def set_up(target: Target, *services: str, ask: object = password) -> list[str]:
    """Install the helper; return the steps."""
    return install.install(target, install.plan(target, services), ask)  # type: ignore[arg-type]  # a function


def installed_files(sandbox: Sandbox) -> list[str]:
    """Return the files and folders of pytest-hil on the board."""
    places = (PROGRAM, SERVICES, SUDOERS, "/etc/pytest-hil", "/run/pytest-hil")
    paths = [path for path in places if sandbox.file(path).exists()]
    folders = ("/usr/local/sbin", "/etc/sudoers.d", "/etc/pytest-hil")
    return paths + [str(file) for path in folders for file in sandbox.file(path).glob("*.new")]


def test_setup_with_the_password_and_removal(bare: Sandbox) -> None:
    """Setup installs three files; a second setup changes nothing, and removal deletes them all."""
    allow_by_password(bare)
    add_service(bare)
    target = Inside(bare)
    first = set_up(target, "robot")
    assert [step.partition(" was ")[2] for step in first[:3]] == ["written"] * 3
    for path, mode in ((PROGRAM, 0o755), (SERVICES, 0o644), (SUDOERS, 0o440)):
        status = bare.file(path).stat()
        assert (status.st_mode & 0o7777, status.st_uid, status.st_gid) == (mode, 0, 0)
    assert bare.file(PROGRAM).read_bytes() == SOURCE.read_bytes()
    assert bare.file(SERVICES).read_text() == "robot\n"
    assert LINE in bare.file(SUDOERS).read_text().splitlines()
    again = set_up(target, "robot")
    assert [step.partition(" is ")[2] for step in again[:3]] == ["already up to date"] * 3
    assert not any(inside.PASSWORD in word for argv in target.ran for word in argv)
    steps = install.remove(target, password)
    assert len(steps) == 3
    assert installed_files(bare) == []
    assert install.remove(target, password) == ["there was nothing to remove"]


def test_the_sudoers_line_allows_the_program_alone(board: Sandbox) -> None:
    """The sudoers line allows neither arguments nor other programs, variables or users."""
    for words in (
        (PROGRAM, "version"),
        (PROGRAM, ""),
        ("/usr/bin/id",),
        ("-u", "daemon", PROGRAM),
        ("PYTHONPATH=/srv/hil", PROGRAM),
        ("-E", PROGRAM),
        ("-s",),
    ):
        assert board.run("/usr/bin/sudo", "-n", *words, user=True, input="version\n").stdout == ""
    assert json.loads(board.run("/usr/bin/sudo", "-n", PROGRAM, user=True, input="version\n").stdout)["ok"]


def test_root_needs_no_sudo(bare: Sandbox) -> None:
    """If the target's user is root, the program and the services are installed, but no sudoers file."""
    steps = set_up(Inside(bare, root=True), ask=no_password)
    assert "root needs no sudoers file" in steps
    assert installed_files(bare) == [PROGRAM, SERVICES, "/etc/pytest-hil", "/run/pytest-hil"]
    install.remove(Inside(bare, root=True), no_password)
    assert installed_files(bare) == []


def test_a_wrong_password_installs_nothing(bare: Sandbox) -> None:
    """With a wrong password nothing is installed, and the error does not contain the password."""
    allow_by_password(bare)
    with pytest.raises(LabError, match="sudo did not accept the password") as error:
        set_up(Inside(bare), ask=lambda _: "open sesame")
    assert "sesame" not in str(error.value)
    assert installed_files(bare) == []


def test_a_user_who_may_not_use_sudo(bare: Sandbox) -> None:
    """If sudo does not allow the user anything, the error is sudo's own, and nothing is installed."""
    with pytest.raises(LabError, match="not in the sudoers file"):
        set_up(Inside(bare))
    assert installed_files(bare) == []


def test_a_lost_connection_installs_nothing(bare: Sandbox) -> None:
    """A script that arrived incompletely installs nothing."""
    bare.place("/etc/sudoers.d/lab", f"{inside.USER} ALL=(ALL) NOPASSWD: ALL\n", 0o440)
    for cut in (0, 100, 5000):
        with pytest.raises((LabError, UserError)):
            set_up(Inside(bare, cut=cut), ask=lambda _: "")
    assert installed_files(bare) == []


def test_altered_bytes_are_not_carried_out(bare: Sandbox) -> None:
    """The script on standard input must match the digest in the command."""

    class Altered(Inside):
        def run(self, argv: Sequence[str], stdin: bytes = b"", timeout: float = 60.0) -> Done:
            return super().run(argv, stdin.replace(b"nvmap", b"pmavn"), timeout)

    with pytest.raises(LabError, match="without an answer"):
        set_up(Altered(bare, root=True))
    assert installed_files(bare) == []


@pytest.mark.parametrize("place", ["/usr/local/sbin", "/etc/sudoers.d", "/etc/pytest-hil"])
def test_a_folder_that_others_can_write_is_refused(bare: Sandbox, place: str) -> None:
    """Nothing is installed where another user could replace it; the folder keeps its mode and owner."""
    folder = bare.file(place)
    folder.mkdir(exist_ok=True)
    for owner, mode in ((0, 0o775), (0, 0o757), (4711, 0o755)):
        os.chown(folder, owner, owner)
        folder.chmod(mode)
        assert_folder_is_refused(bare)
        status = folder.stat()
        assert (status.st_uid, status.st_mode & 0o7777) == (owner, mode)
    bare.run("/usr/bin/mv", place, f"{place}.away").check_returncode()
    bare.run("/usr/bin/ln", "-s", "/srv/hil", place).check_returncode()
    assert_folder_is_refused(bare)


def assert_folder_is_refused(sandbox: Sandbox) -> None:
    """Assert that installing fails and writes neither the sudoers file nor the user's folder."""
    with pytest.raises(LabError, match="can be changed by users other than root"):
        install._as_root(Inside(sandbox, root=True), ORDER, "root", no_password)  # noqa: SLF001 - all three files
    assert not sandbox.run("/usr/bin/cat", SUDOERS).stdout
    assert list(sandbox.file("/srv/hil").iterdir()) == []


SERVICES_OF_USERS_FILES: list[tuple[dict[str, str], bool]] = [
    ({}, False),
    ({"program": "/srv/hil/robot.py"}, True),
    ({"program": "/srv/hil/robot.py", "user": "root"}, True),
    ({"program": "--config=/srv/hil/robot.py"}, True),
    ({"program": "/srv/hil/robot.py", "user": "hil"}, False),
    ({"program": "/srv/hil/robot.py", "user": "hil", "lines": "ExecStartPre=+/srv/hil/robot.py\n"}, True),
    ({"program": "/srv/hil/robot.py", "user": "hil", "lines": "ExecStartPre=-!/srv/hil/robot.py\n"}, True),
    ({"env": "/srv/hil/robot.py (ignore_errors=yes)"}, True),
]
"""Services, and whether root would run a file of the user."""


def test_a_service_that_runs_the_users_files_as_root_is_refused(bare: Sandbox) -> None:
    """A service that runs a file of the user as root is refused; one that runs it as another user is accepted."""
    robot = bare.file("/srv/hil/robot.py")
    robot.write_text("")
    os.chown(robot, 4711, 4711)
    target = Inside(bare, root=True)
    for keys, refused in SERVICES_OF_USERS_FILES:
        add_service(bare, **keys)
        if refused:
            with pytest.raises(LabError, match="service robot runs as root, and /srv/hil"):
                set_up(target, "robot")
            assert installed_files(bare) == [], keys
        else:
            assert set_up(target, "robot"), keys
            install.remove(target, no_password)


ROOTS = "/srv/root"
"""A folder of root. /srv/hil, next to it, is the user's."""


UNSUPPORTED = (
    "EnvironmentFile=/srv/hil/none.env",  # not there yet: the user can make it
    "EnvironmentFile=-/srv/hil/none/none.env",
    "EnvironmentFile=/srv/root/a b",
    "EnvironmentFile=/srv/root/bad.env",
    "ExecStartPre=/usr/bin/true /srv/hil/none",
    "ExecStartPre=/usr/bin/true --file=/srv/hil/none/none",
    'ExecStartPre=/usr/bin/true "/srv/hil/a b"',
    "ExecStartPre=/usr/bin/true ../srv/hil/x",
    "ExecStartPre=/usr/bin/true ${WHERE}/x",
    "ExecStartPre=/usr/bin/true %h/x",
    "ExecStartPre=/usr/bin/true \\\n /srv/hil/x",
    "ExecStartPre=/usr/local/bin/none",
    "ExecStartPre=true",
    "WorkingDirectory=/srv/hil",
    "WorkingDirectory=~",
    "Environment=PYTHONPATH=/srv/hil",
    "Environment=LD_PRELOAD=x.so",
    'Environment="LANG=C" "BASH_ENV=x"',
    "RootDirectory=/srv/root",
    "BindPaths=/srv/hil:/opt",
    "StandardOutput=append:/srv/hil/log",
    "ExecSearchPath=/srv/hil",
    "AmbientCapabilities=CAP_SYS_ADMIN",
    "[Unit]\nWants=other.service",
    "[Unit]\nRequires=other.socket",
    "[Socket]\nListenStream=1",
)
"""Lines of a unit file of root: files that the user could create, variables, other units."""


def test_unit_lines_that_are_not_supported_are_refused(bare: Sandbox) -> None:
    """A service of root may not depend on files that the user could create, on variables or on other units."""
    add_root_files(bare)
    for lines in UNSUPPORTED:
        add_service(bare, lines=lines + "\n")
        with pytest.raises(LabError, match=r"service (robot|other)") as error:
            set_up(Inside(bare, root=True), "robot")
        assert "does not answer" not in str(error.value), lines
        assert installed_files(bare) == [], lines


PROPERTIES = (
    ("NeedDaemonReload=yes\n", "", ""),
    ("RootDirectory=/srv/root\n", "", "hil"),
    ("Environment=LD_PRELOAD=x.so\n", "", ""),
    ("WorkingDirectory=/srv/hil\n", "", ""),
    ("Wants=other.service\n", "", "hil"),
    ("DropInPaths=/srv/hil/robot.conf\n", "", "hil"),
    ("", "PermissionsStartOnly=true\n", "hil"),
    ("", "AmbientCapabilities=CAP_SYS_ADMIN\n", "hil"),
    ("", "StandardOutput=file:/srv/hil/log\n", "hil"),
    ("", "Group=docker\n", "hil"),
    ("", "", "nobody-here"),
    ("", "", "00"),
)
"""What ``systemctl show`` adds, lines of the unit file, and the service's user."""


def test_loaded_properties_follow_the_same_rules(bare: Sandbox) -> None:
    """Loaded properties that are in no unit file, and other users' services with root's privileges, are checked too."""
    add_root_files(bare)
    place = bare.fake("shown/robot.service")
    for shown, lines, user in PROPERTIES:
        add_service(bare, lines=lines, user=user, program="/srv/hil/robot.py" if user else "/usr/bin/true")
        place.write_text(place.read_text() + shown)
        with pytest.raises(LabError, match=r"service (robot|other)"):
            set_up(Inside(bare, root=True), "robot")
        assert installed_files(bare) == [], (shown, lines, user)


def test_a_supported_service_is_accepted(bare: Sandbox) -> None:
    """A service of root with supported keys only is accepted, and so is any service of the user."""
    add_root_files(bare)
    add_service(bare, lines=CHECKED, env="/srv/root/good.env (ignore_errors=no)")
    assert set_up(Inside(bare, root=True), "robot")
    free = "WorkingDirectory=/srv/hil\nEnvironment=PYTHONPATH=/srv/hil\nGroup=video\nExecStartPre=/bin/sh -c 'a b'\n"
    add_service(bare, lines=free, user="hil", program="/srv/hil/robot.py")
    assert set_up(Inside(bare, root=True), "robot")


CHECKED = """\
Type=simple
Restart=on-failure
RestartSec=2
WorkingDirectory=/srv/root
EnvironmentFile=/srv/root/good.env
EnvironmentFile=-/srv/root/none.env
Environment=ROS_DOMAIN_ID=7 LANG=C.UTF-8
ExecStartPre=-/usr/bin/true --config=/srv/root/none.yaml -v 3
StandardOutput=journal
LimitMEMLOCK=infinity
[Unit]
Description=The robot's perception, 100 % "checked"
After=network-online.target
Wants=network-online.target
# a comment
[Install]
WantedBy=multi-user.target
"""


def add_root_files(sandbox: Sandbox) -> None:
    """Create a folder of root with environment files, and a service of root that runs a file of the user."""
    sandbox.file(ROOTS).mkdir()
    sandbox.place(f"{ROOTS}/good.env", "# it\nLANG=C\nOMP_NUM_THREADS=2\n")
    sandbox.place(f"{ROOTS}/bad.env", "LANG=C\nPYTHONPATH=/srv/hil\n")
    sandbox.place(f"{ROOTS}/a", "LANG=C\n")
    sandbox.place("/etc/other.service", "[Service]\nExecStart=/srv/hil/robot.py\n")
    shown = UNIT.format(user="", env="").replace("robot", "other")
    sandbox.fake("shown/other.service").write_text(shown)


def test_an_unknown_service_is_refused(bare: Sandbox) -> None:
    """A mistyped name is an error of ``setup``, not of a later session."""
    with pytest.raises(LabError, match="this board has no service robo"):
        set_up(Inside(bare, root=True), "robo")
    assert installed_files(bare) == []


def test_names_of_services_are_checked_on_both_sides(bare: Sandbox) -> None:
    """An invalid name of a service is refused by the host, and again by the script on the board."""
    target = Inside(bare, root=True)
    helper = SOURCE.read_text(encoding="ascii")
    for name in ("../x", "--force", "a\nb", "a b", "", "x;y", "*", "a/b", ".x", "é", "x" * 200):
        with pytest.raises(UserError, match="is not a valid service name"):
            install.plan(target, [name])
        with pytest.raises(LabError, match="is not a valid service name"):
            install.install(target, install.Setup("root", (name,), helper), no_password)


def test_names_of_users_are_checked_on_both_sides(bare: Sandbox) -> None:
    """A name that sudo could read as several users is never written to sudoers."""

    class Named(Inside):
        name = ""

        def run(self, argv: Sequence[str], stdin: bytes = b"", timeout: float = 60.0) -> Done:
            if argv[0].endswith("/id"):
                return Done(0, f"{self.name}\n".encode(), b"")
            return super().run(argv, stdin, timeout)

    target = Named(bare, root=True)
    for user in ("ALL", "%wheel", "#0", "a b", "hil,root", "x\ny", "-u", "", "hil ALL=(ALL) ALL\n#"):
        target.name = user
        with pytest.raises((UserError, LabError)):
            install.plan(target, [])
        order: dict[str, Any] = {
            "do": "install",
            "user": user,
            "services": [],
            "sudoers": f"{user} ALL=(ALL) NOPASSWD: ALL\n",
        }
        with pytest.raises(LabError, match="is not supported in a sudoers file"):
            install._as_root(Inside(bare, root=True), order, "root", no_password)  # noqa: SLF001 - as a careless host would
        assert installed_files(bare) == [], user


def test_a_user_cannot_be_passed_off_as_another(bare: Sandbox) -> None:
    """The helper is installed only for the user that sudo recorded, whatever user the request names."""
    allow_by_password(bare)
    order = {**ORDER, "user": "daemon", "sudoers": "daemon ALL=(root) NOPASSWD: ALL\n"}
    with pytest.raises(LabError, match="the helper is for user daemon, but user hil ran sudo"):
        install._as_root(Inside(bare), order, "daemon", password)  # noqa: SLF001 - as a deceived host would
    assert installed_files(bare) == []


def test_an_invalid_sudoers_file_is_not_installed(bare: Sandbox) -> None:
    """A sudoers file that ``visudo`` rejects is not installed; the program and the list of services stay."""
    order = {"do": "install", "user": "hil", "services": [], "sudoers": "hil ALL=(root NOPASSWD\n"}
    with pytest.raises(LabError, match="visudo rejects"):
        install._as_root(Inside(bare, root=True), order, "root", no_password)  # noqa: SLF001 - no public way leads there
    assert installed_files(bare) == [PROGRAM, SERVICES, "/etc/pytest-hil"]


@pytest.mark.parametrize("name", ["pytest-hil-helper.new", "pytest-hil-helper"])
def test_links_in_place_of_the_files_are_replaced_not_followed(bare: Sandbox, name: str) -> None:
    """Setup writes through no link, neither at the final name nor at the temporary one."""
    victim = bare.place("/srv/victim", "precious")
    bare.file(f"/usr/local/sbin/{name}").symlink_to("/srv/victim")
    set_up(Inside(bare, root=True))
    assert victim.read_text() == "precious"
    assert not bare.file(PROGRAM).is_symlink()


def test_remove_undoes_the_changes_of_a_killed_helper(board: Sandbox) -> None:
    """Removal restores the clocks that a killed helper had locked, and deletes the record of changes."""
    helper = board.helper()
    helper.ask("clocks lock")
    helper.process.kill()
    helper.end()
    assert board.fake("clocks").read_text() == "2201600\n"
    steps = install.remove(Inside(board, root=True), no_password)
    assert "clocks was restored" in steps
    assert board.fake("clocks").read_text() == "729600\n"
    assert installed_files(board) == []


def test_remove_during_a_session_revokes_the_permission(board: Sandbox) -> None:
    """Removal deletes the sudoers file at once; the running helper still undoes its changes."""
    with board.helper() as helper:
        helper.ask("clocks lock")
        with pytest.raises(LabError, match="a session still relies on them"):
            install.remove(Inside(board, root=True), no_password)
        assert not board.file(SUDOERS).exists()
    assert board.fake("clocks").read_text() == "729600\n"
    install.remove(Inside(board, root=True), no_password)
    assert installed_files(board) == []


def test_the_plan_is_described_completely(bare: Sandbox) -> None:
    """The plan describes paths, owners, modes, services and sudoers line, and making it changes nothing."""
    target = Inside(bare)
    description = "\n".join(install.plan(target, ["robot", "robot"]).describe())
    assert f"{PROGRAM} (root:root, 0755): sha256 {hashlib.sha256(SOURCE.read_bytes()).hexdigest()}" in description
    for piece in (PROGRAM, SERVICES, SUDOERS, LINE, "root:root, 0755", "root:root, 0440", "): robot\n"):
        assert piece in description
    assert installed_files(bare) == []
    assert [argv[0] for argv in target.ran] == ["/usr/bin/id"]
