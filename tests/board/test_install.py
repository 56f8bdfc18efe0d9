"""``hil board setup`` and ``remove`` on a board with the real sudo: all of it or nothing, and nothing of the user's."""

from __future__ import annotations

import json
import os
import subprocess
from typing import TYPE_CHECKING

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
    """The user of a sandbox, as a target: what ``run`` is over a network is the transport's own tests' business."""

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
    """The one that the user of the sandbox has."""
    return inside.PASSWORD


def never(prompt: str) -> str:
    """For where nobody is to be asked."""
    pytest.fail(f"asked for {prompt}")


def allow_by_password(sandbox: Sandbox) -> None:
    """The user may use sudo, with the password."""
    sandbox.place("/etc/sudoers.d/lab", BY_PASSWORD, 0o440)


def serve(sandbox: Sandbox, *, user: str = "", program: str = "/usr/bin/true", env: str = "", lines: str = "") -> None:
    """Makes systemd know the service ``robot``."""
    sandbox.place("/etc/robot.service", f"[Service]\nExecStart=/usr/bin/python3 {program}\n{lines}")
    shown = UNIT.format(user=user, env=env) + EXEC.format(program=program)
    sandbox.fake("shown/robot.service").write_text(shown)
    sandbox.fake("units/robot.service").write_text("active\n")


def put(target: Target, *services: str, ask: object = password) -> list[str]:
    """Set up."""
    return install.install(target, install.planned(target, services), ask)  # type: ignore[arg-type]  # a function


def there(sandbox: Sandbox) -> list[str]:
    """What of ours is on the board."""
    places = (PROGRAM, SERVICES, SUDOERS, "/etc/pytest-hil", "/run/pytest-hil")
    found = [path for path in places if sandbox.file(path).exists()]
    folders = ("/usr/local/sbin", "/etc/sudoers.d", "/etc/pytest-hil")
    return found + [str(one) for path in folders for one in sandbox.file(path).glob("*.new")]


def test_set_up_with_the_password_and_taken_away(bare: Sandbox) -> None:
    """Three files of root's, an answer without a password, nothing new the second time, and all goes."""
    allow_by_password(bare)
    serve(bare)
    target = Inside(bare)
    first = put(target, "robot")
    assert [step.partition(" was ")[2] for step in first[:3]] == ["written"] * 3
    for path, mode in ((PROGRAM, 0o755), (SERVICES, 0o644), (SUDOERS, 0o440)):
        seen = bare.file(path).stat()
        assert (seen.st_mode & 0o7777, seen.st_uid, seen.st_gid) == (mode, 0, 0)
    assert bare.file(PROGRAM).read_bytes() == SOURCE.read_bytes()
    assert bare.file(SERVICES).read_text() == "robot\n"
    assert LINE in bare.file(SUDOERS).read_text().splitlines()
    again = put(target, "robot")
    assert [step.partition(" was ")[2] for step in again[:3]] == ["there already"] * 3
    assert not any(inside.PASSWORD in word for argv in target.ran for word in argv)
    gone = install.remove(target, password)
    assert len(gone) == 3
    assert there(bare) == []
    assert install.remove(target, password) == ["nothing was set up here"]


def test_the_sudoers_line_allows_the_program_alone(board: Sandbox) -> None:
    """No arguments, no other program, no variables, no other user."""
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
    """A target whose user is root gets program and services, and no line for sudo."""
    steps = put(Inside(bare, root=True), ask=never)
    assert "root itself needs no line for sudo" in steps
    assert there(bare) == [PROGRAM, SERVICES, "/etc/pytest-hil", "/run/pytest-hil"]
    install.remove(Inside(bare, root=True), never)
    assert there(bare) == []


def test_a_wrong_password_installs_nothing(bare: Sandbox) -> None:
    """Its refusal is told, without the password."""
    allow_by_password(bare)
    with pytest.raises(LabError, match="sudo did not accept it") as told:
        put(Inside(bare), ask=lambda _: "open sesame")
    assert "sesame" not in str(told.value)
    assert there(bare) == []


def test_a_user_who_may_not_use_sudo_is_told(bare: Sandbox) -> None:
    """The right password of somebody without the right."""
    with pytest.raises(LabError, match="not in the sudoers file"):
        put(Inside(bare))
    assert there(bare) == []


def test_a_cut_link_installs_nothing(bare: Sandbox) -> None:
    """Root's side carries out what arrived whole, or nothing."""
    bare.place("/etc/sudoers.d/lab", f"{inside.USER} ALL=(ALL) NOPASSWD: ALL\n", 0o440)
    for cut in (0, 100, 5000):
        with pytest.raises((LabError, UserError)):
            put(Inside(bare, cut=cut), ask=lambda _: "")
    assert there(bare) == []


def test_altered_bytes_are_not_carried_out(bare: Sandbox) -> None:
    """The digest stands in the command; what standard input has must be that."""

    class Altered(Inside):
        def run(self, argv: Sequence[str], stdin: bytes = b"", timeout: float = 60.0) -> Done:
            return super().run(argv, stdin.replace(b"nvmap", b"pmavn"), timeout)

    with pytest.raises(LabError, match="without an answer"):
        put(Altered(bare, root=True))
    assert there(bare) == []


@pytest.mark.parametrize("place", ["/usr/local/sbin", "/etc/sudoers.d", "/etc/pytest-hil"])
@pytest.mark.parametrize("how", ["group", "others", "owner", "link"])
def test_a_folder_that_others_can_write_is_refused(bare: Sandbox, place: str, how: str) -> None:
    """Nothing of root's goes where somebody else could exchange it, and the folder is not changed silently."""
    folder = bare.file(place)
    folder.mkdir(exist_ok=True)
    if how == "link":
        bare.run("/usr/bin/mv", place, f"{place}.away").check_returncode()
        bare.run("/usr/bin/ln", "-s", "/srv/hil", place).check_returncode()
    elif how == "owner":
        os.chown(folder, 4711, 4711)
    else:
        folder.chmod(0o775 if how == "group" else 0o757)
    with pytest.raises(LabError, match="can be changed by others than root"):
        install._as_root(Inside(bare, root=True), ORDER, "root", never)  # noqa: SLF001 - all three files
    assert not bare.run("/usr/bin/cat", SUDOERS).stdout
    assert list(bare.file("/srv/hil").iterdir()) == []


@pytest.mark.parametrize(
    ("keys", "refused"),
    [
        ({}, False),
        ({"program": "/srv/hil/robot.py"}, True),
        ({"program": "/srv/hil/robot.py", "user": "root"}, True),
        ({"program": "--config=/srv/hil/robot.py"}, True),
        ({"program": "/srv/hil/robot.py", "user": "hil"}, False),
        ({"program": "/srv/hil/robot.py", "user": "hil", "lines": "ExecStartPre=+/srv/hil/robot.py\n"}, True),
        ({"program": "/srv/hil/robot.py", "user": "hil", "lines": "ExecStartPre=-!/srv/hil/robot.py\n"}, True),
        ({"env": "/srv/hil/robot.py (ignore_errors=yes)"}, True),
    ],
)
def test_a_service_that_runs_the_users_files_as_root_is_refused(
    bare: Sandbox, keys: dict[str, str], *, refused: bool
) -> None:
    """Whoever could restart it would be root; as somebody else than root it may run what it likes."""
    robot = bare.file("/srv/hil/robot.py")
    robot.write_text("")
    os.chown(robot, 4711, 4711)
    serve(bare, **keys)
    if refused:
        with pytest.raises(LabError, match="service robot runs as root, and /srv/hil"):
            put(Inside(bare, root=True), "robot")
        assert there(bare) == []
    else:
        assert put(Inside(bare, root=True), "robot")


ROOTS = "/srv/root"
"""A folder of root's; beside it /srv/hil is the user's."""


@pytest.mark.parametrize(
    "lines",
    [
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
    ],
)
def test_what_is_not_checked_to_its_last_letter_is_refused(bare: Sandbox, lines: str) -> None:
    """Of a service of root's: files that the user could make, paths with a space, folders, variables, roots, starts."""
    serve(bare, lines=lines + "\n")
    furnish(bare)
    with pytest.raises(LabError, match=r"service (robot|other)") as told:
        put(Inside(bare, root=True), "robot")
    assert "see that there" not in str(told.value)
    assert there(bare) == []


@pytest.mark.parametrize(
    ("shown", "lines", "user"),
    [
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
    ],
)
def test_what_systemd_has_loaded_is_held_to_the_same_rules(bare: Sandbox, shown: str, lines: str, user: str) -> None:
    """Also where no file says it, and of a service of somebody else's whose unit gives root's rights away."""
    serve(bare, lines=lines, user=user, program="/srv/hil/robot.py" if user else "/usr/bin/true")
    furnish(bare)
    place = bare.fake("shown/robot.service")
    place.write_text(place.read_text() + shown)
    with pytest.raises(LabError, match=r"service (robot|other)"):
        put(Inside(bare, root=True), "robot")
    assert there(bare) == []


def test_a_service_that_is_checked_whole_is_taken(bare: Sandbox) -> None:
    """An ordinary unit of root's, with what it may have, and one of the user's own that runs what it likes."""
    furnish(bare)
    serve(bare, lines=CHECKED, env="/srv/root/good.env (ignore_errors=no)")
    assert put(Inside(bare, root=True), "robot")
    free = "WorkingDirectory=/srv/hil\nEnvironment=PYTHONPATH=/srv/hil\nGroup=video\nExecStartPre=/bin/sh -c 'a b'\n"
    serve(bare, lines=free, user="hil", program="/srv/hil/robot.py")
    assert put(Inside(bare, root=True), "robot")


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


def furnish(sandbox: Sandbox) -> None:
    """A folder of root's with environment files, and a service of root's that runs the user's file."""
    sandbox.file(ROOTS).mkdir()
    sandbox.place(f"{ROOTS}/good.env", "# it\nLANG=C\nOMP_NUM_THREADS=2\n")
    sandbox.place(f"{ROOTS}/bad.env", "LANG=C\nPYTHONPATH=/srv/hil\n")
    sandbox.place(f"{ROOTS}/a", "LANG=C\n")
    sandbox.place("/etc/other.service", "[Service]\nExecStart=/srv/hil/robot.py\n")
    shown = UNIT.format(user="", env="").replace("robot", "other")
    sandbox.fake("shown/other.service").write_text(shown)


def test_an_unknown_service_is_refused(bare: Sandbox) -> None:
    """A slip in the name is told while somebody looks, not when a session begins."""
    with pytest.raises(LabError, match="this board has no service robo"):
        put(Inside(bare, root=True), "robo")
    assert there(bare) == []


@pytest.mark.parametrize("name", ["../x", "--force", "a\nb", "a b", "", "x;y", "*", "a/b", ".x", "é", "x" * 200])
def test_names_of_services_are_checked_on_both_sides(bare: Sandbox, name: str) -> None:
    """The host says so at once; root's side does not rely on that."""
    target = Inside(bare, root=True)
    with pytest.raises(UserError, match="is no name of a service"):
        install.planned(target, [name])
    helper = SOURCE.read_text(encoding="ascii")
    with pytest.raises(LabError, match="is no name of a service"):
        install.install(target, install.Setup("root", (name,), helper), never)


@pytest.mark.parametrize("user", ["ALL", "%wheel", "#0", "a b", "hil,root", "x\ny", "-u", "", "hil ALL=(ALL) ALL\n#"])
def test_names_of_users_are_checked_on_both_sides(bare: Sandbox, user: str) -> None:
    """What could mean more than one user never reaches sudoers."""

    class Named(Inside):
        def run(self, argv: Sequence[str], stdin: bytes = b"", timeout: float = 60.0) -> Done:
            if argv[0].endswith("/id"):
                return Done(0, f"{user}\n".encode(), b"")
            return super().run(argv, stdin, timeout)

    with pytest.raises((UserError, LabError)):
        install.planned(Named(bare, root=True), [])
    order = {"do": "install", "user": user, "services": [], "sudoers": f"{user} ALL=(ALL) NOPASSWD: ALL\n"}
    with pytest.raises(LabError, match="cannot go into sudoers"):
        install._as_root(Inside(bare, root=True), order, "root", never)  # noqa: SLF001 - as a careless host would
    assert there(bare) == []


def test_a_user_cannot_be_passed_off_as_another(bare: Sandbox) -> None:
    """What the account's shell answers to ``id`` is not believed against sudo."""
    allow_by_password(bare)
    order = {**ORDER, "user": "daemon", "sudoers": "daemon ALL=(root) NOPASSWD: ALL\n"}
    with pytest.raises(LabError, match="it is for daemon, and hil ran sudo"):
        install._as_root(Inside(bare), order, "daemon", password)  # noqa: SLF001 - as a deceived host would
    assert there(bare) == []


def test_a_line_that_visudo_refuses_is_not_put_there(bare: Sandbox) -> None:
    """A broken file in sudoers.d would lock everybody out of sudo."""
    order = {"do": "install", "user": "hil", "services": [], "sudoers": "hil ALL=(root NOPASSWD\n"}
    with pytest.raises(LabError, match="visudo refuses"):
        install._as_root(Inside(bare, root=True), order, "root", never)  # noqa: SLF001 - no public way leads there
    assert there(bare) == [PROGRAM, SERVICES, "/etc/pytest-hil"]


@pytest.mark.parametrize("name", ["pytest-hil-helper.new", "pytest-hil-helper"])
def test_links_left_at_the_places_are_replaced_not_followed(bare: Sandbox, name: str) -> None:
    """A link at the name that is written, or beside it, is not a way to another file."""
    victim = bare.place("/srv/victim", "precious")
    bare.file(f"/usr/local/sbin/{name}").symlink_to("/srv/victim")
    put(Inside(bare, root=True))
    assert victim.read_text() == "precious"
    assert not bare.file(PROGRAM).is_symlink()


def test_remove_restores_what_a_killed_helper_left(board: Sandbox) -> None:
    """No trace in the clocks either."""
    helper = board.helper()
    helper.ask("clocks lock")
    helper.process.kill()
    helper.end()
    assert board.fake("clocks").read_text() == "2201600\n"
    steps = install.remove(Inside(board, root=True), never)
    assert "clocks was restored" in steps
    assert board.fake("clocks").read_text() == "729600\n"
    assert there(board) == []


def test_remove_under_a_session_takes_the_right_and_says_so(board: Sandbox) -> None:
    """Nobody can start the helper any more; the one at work still restores, and the rest goes the next time."""
    with board.helper() as helper:
        helper.ask("clocks lock")
        with pytest.raises(LabError, match="a session still relies on them"):
            install.remove(Inside(board, root=True), never)
        assert not board.file(SUDOERS).exists()
    assert board.fake("clocks").read_text() == "729600\n"
    install.remove(Inside(board, root=True), never)
    assert there(board) == []


def test_what_would_be_installed_is_told_whole(bare: Sandbox) -> None:
    """Paths, owners, modes, the program's digest, the services and the line for sudo."""
    target = Inside(bare)
    told = "\n".join(install.planned(target, ["robot", "robot"]).describe())
    for piece in (PROGRAM, SERVICES, SUDOERS, LINE, "root:root, 0755", "root:root, 0440", "): robot\n"):
        assert piece in told
    assert there(bare) == []
    assert [argv[0] for argv in target.ran] == ["/usr/bin/id"]
