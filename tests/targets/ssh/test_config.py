from __future__ import annotations

import getpass
import os
import pwd
import string
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING
from unittest.mock import patch

import paramiko
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hil.config.load import load
from hil.config.spec import TargetSpec
from hil.errors import UserError
from hil.targets.ssh.config import Hop, route, split_address
from hil.targets.ssh.known_hosts import known_keys, matches
from hil.targets.ssh.ssh_client import settings_of
from hil.targets.ssh.ssh_config_text import TRAP
from tests.targets.sshd import call

if TYPE_CHECKING:
    from collections.abc import Sequence

NAMES = st.sampled_from(["orin", "orin2", "xavier", "nano.lab", "10.0.0.7"])
PATTERNS = st.sampled_from(["orin", "orin*", "*", "!orin orin*", "x?vier", "nano.lab xavier", "10.0.0.?"])
LINES = st.one_of(
    st.sampled_from(["one.example", "%h.example", "10.1.1.1"]).map("HostName {}".format),
    st.integers(1, 65535).map("Port {}".format),
    st.sampled_from(["nvidia", "ubuntu"]).map("user {}".format),
    st.sampled_from(["~/.ssh/a", "/keys/b", '"/keys/c d"', "%d/%r-key"]).map("IdentityFile={}".format),
    st.sampled_from(["yes", "no"]).map("IdentitiesOnly {}".format),
    st.sampled_from(["alias-a", "alias-b"]).map("HostKeyAlias {}".format),
    st.sampled_from(["/known/a", "~/k", "/known/a /known/b"]).map("UserKnownHostsFile {}".format),
)


def write(home: Path, text: str) -> Path:
    """Write the user's SSH config; return its path."""
    path = home / ".ssh" / "config"
    path.write_text(text)
    return path


def to(host: str, **keys: object) -> tuple[Hop, ...]:
    """Return the hops to a target with this host."""
    return route("board", TargetSpec.model_validate({"kind": "ssh", "host": host, **keys}))


def by_openssh(path: Path, host: str) -> dict[str, list[str]]:
    """Return the values of each key as OpenSSH reads the config."""
    settings: dict[str, list[str]] = {}
    for line in call("ssh", "-G", "-F", str(path), host).splitlines():
        key, _, value = line.partition(" ")
        settings.setdefault(key, []).append(value)
    return settings


def expanded(files: Sequence[str], home: Path, user: str) -> list[Path]:
    """Expand file names, because ``ssh -G`` prints them unexpanded."""
    return [Path(file.replace("~", str(home)).replace("%d", str(home)).replace("%r", user)) for file in files]


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(blocks=st.lists(st.tuples(PATTERNS, st.lists(LINES, max_size=5)), max_size=4), host=NAMES)
def test_the_config_is_read_as_openssh_reads_it(home: Path, blocks: list[tuple[str, list[str]]], host: str) -> None:
    """Address, user, port, keys, alias and known hosts files equal those of ``ssh -G``."""
    path = write(
        home, "".join(f"Host {pattern}\n" + "".join(f"  {one}\n" for one in lines) for pattern, lines in blocks)
    )
    (hop,) = to(host)
    assert_as_openssh(hop, by_openssh(path, host), home)


@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(lines=st.lists(LINES, max_size=5), jump=st.sampled_from(["", " ProxyJump none\n", " ProxyJump me@jump:77\n"]))
def test_what_only_openssh_knows_is_left_to_it(home: Path, lines: list[str], jump: str) -> None:
    """The answer of ssh gives the same hops as the config that both can read."""
    path = write(home, "Host orin\n" + "".join(f"  {one}\n" for one in lines) + jump)
    expected = to("orin")
    answer = settings_of(path, "orin")
    with patch.object(
        paramiko.SSHConfig, "lookup", lambda _, host: {TRAP: "new"} if host == "orin" else {"hostname": host}
    ):
        (*jumps, hop) = to("orin")
    assert answer is not None
    assert [(one.user, one.host, one.port) for one in jumps] == [
        (one.user, one.host, one.port) for one in expected[:-1]
    ]
    assert_as_openssh(hop, by_openssh(path, "orin"), home)
    assert hop.chosen == expected[-1].chosen


def assert_as_openssh(hop: Hop, openssh: dict[str, list[str]], home: Path) -> None:
    """Assert that ``hop`` has the address, user, port, keys, alias and known hosts files that ``ssh -G`` printed."""
    assert [hop.host, hop.user, str(hop.port)] == [openssh["hostname"][0], openssh["user"][0], openssh["port"][0]]
    if hop.chosen:
        assert list(hop.identities) == expanded(openssh["identityfile"], home, hop.user)
    assert hop.only == (openssh["identitiesonly"] == ["yes"])
    alias = openssh.get("hostkeyalias", [None])[0]
    assert hop.known_as == (alias or (hop.host if hop.port == 22 else f"[{hop.host}]:{hop.port}"))
    # OpenSSH takes the home folder from the user database, not from HOME.
    files = openssh["userknownhostsfile"][0].split(), [str(file) for file in hop.known_hosts]
    expected, known = ([one.replace(pwd.getpwuid(os.getuid()).pw_dir, str(home)) for one in some] for some in files)
    assert known[: len(expected)] == expected


WRITTEN = {
    "carriage returns": "Host rover\r\n  HostName 10.0.0.5\r\n  User bob\r\n",
    "%h in the address": "Host rover*\n  HostName %h.lab.example\n",
    "comments behind values": "Host rover # Bob's\n HostName 10.0.0.5 # on 'wifi'\n User bob\t# me\n Port 2222 # odd\n",
    "a number sign in a word": 'Host rover\n User bob#1\n HostName "10.0.0.5" #\n',
    "an absent include": "Host rover\n Include conf.d/only\n",
    "all and an include": "Host rover\n HostName 10.0.0.5\nMatch all\nInclude config.local\n",
    "final and all": "Host rover\n HostName 10.0.0.5\nMatch final all\n ForwardX11Trusted yes\n User bob\n",
    "a command for another host": 'Match originalhost other exec "true"\n User x\nHost rover\n HostName 10.0.0.5\n',
    "no jump, in capitals": "Host rover\n HostName 10.0.0.5\n ProxyJump None\nHost *\n ProxyJump j1\n",
    "a tag": "Host rover\n HostName 10.0.0.5\n Tag lab\nMatch tagged lab\n User hil\n",
    "a network": "Match localnetwork 9.8.7.6/32\n ProxyJump bastion\nHost rover\n HostName 10.0.0.5\n",
    "canonical names": "CanonicalizeHostname yes\nCanonicalDomains lab.example\nHost *.lab.example\n User hil\n",
}


@pytest.mark.parametrize("text", WRITTEN.values(), ids=WRITTEN)
def test_what_people_write(home: Path, text: str) -> None:
    """Configs that OpenSSH takes give its address, user, port and keys, and no jump; others are refused in its words.

    OpenSSH before 9.4 refuses tags and networks.
    """
    path, host = write(home, text), "rover3" if "%h" in text else "rover"
    command = ["ssh", "-G", "-F", str(path), host]
    answer = subprocess.run(command, capture_output=True, text=True, check=False)
    if answer.returncode:
        with pytest.raises(UserError, match="on target 'board'") as refused:
            to(host)
        assert all(line.strip() in str(refused.value) for line in answer.stderr.splitlines())
        return
    (hop,), openssh = to(host), by_openssh(path, host)
    assert_as_openssh(hop, openssh, home)
    assert not hop.chosen
    assert not {"proxyjump", "proxycommand"} & set(openssh)


def test_without_a_config(home: Path) -> None:
    """Without a config, the default port, keys and files and the local user's name apply."""
    (hop,) = to("Orin.Local")
    assert (hop.host, hop.port, hop.user) == ("Orin.Local", 22, getpass.getuser())
    assert hop.identities[0] == home / ".ssh" / "id_ed25519"
    assert hop.known_as == "orin.local"
    assert hop.known_hosts[0] == home / ".ssh" / "known_hosts"
    assert Path("/etc/ssh/ssh_known_hosts") in hop.known_hosts


def test_the_target_wins(home: Path) -> None:
    """hil.toml overrides the user's config for the target, but not for its jump hosts."""
    write(home, "Host *\n User a\n Port 1\n IdentityFile /a\n UserKnownHostsFile /k\nHost orin\n ProxyJump jump\n")
    jump, hop = to("orin", user="b", port=2, identity="~/b", known_hosts="/l")
    assert (hop.user, hop.port, hop.identities, hop.only) == ("b", 2, (home / "b",), True)
    assert hop.known_hosts == (Path("/l"),)
    assert (jump.user, jump.port, jump.identities) == ("a", 1, (Path("/a"),))
    assert jump.known_hosts[:2] == (Path("/l"), Path("/k"))


def test_jump_hosts_in_order(home: Path) -> None:
    """Jump hosts are passed from left to right; only the first uses its own ProxyJump; ``none`` disables it."""
    write(
        home,
        "Host orin\n ProxyJump u@b:77,c\nHost b\n HostName b.example\n ProxyJump a\nHost c\n ProxyJump z\n"
        "Host near\n ProxyJump none\nHost *\n ProxyJump b\n",
    )
    with pytest.raises(UserError, match="look for a loop"):
        to("orin")
    write(home, "Host orin\n ProxyJump u@b:77,c\nHost b\n HostName b.example\n ProxyJump a\nHost c\n ProxyJump z\n")
    assert [(hop.host, hop.port) for hop in to("orin")] == [("a", 22), ("b.example", 77), ("c", 22), ("orin", 22)]
    assert to("orin")[1].user == "u"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("Host orin\n ProxyCommand touch {ran}\n", "ProxyCommand for 'orin'.*use ProxyJump"),
        ('Match exec "touch {ran}"\n User x\n', "Match exec.*above that Match"),
        ('Match host orin exec "touch {ran}"\n User x\n', "Match exec"),
        ('Match !Exec "touch {ran}"\n User x\n', "Match exec"),
        ('Match exec="touch {ran}"\n User x\n', "runs no command"),
        ('Match localnetwork 10.0.0.0/8 exec "touch {ran}"\n User x\n', "Match localnetwork exec.*runs no command"),
        ('Match tagged x\n User x\nMatch host x exec "touch {ran}"\n User x\n', "Match tagged.*runs no command"),
        ("Include other\n", "Match exec"),
    ],
)
def test_no_command_of_a_config_is_run(home: Path, tmp_path: Path, text: str, message: str) -> None:
    """A setting that would run a program, or is unsupported, is refused if it applies to the host; never ignored."""
    ran = tmp_path / "ran"
    (home / ".ssh" / "other").write_text(f'Match exec "touch {ran}"\n User x\n')
    write(home, text.format(ran=ran))
    with pytest.raises(UserError, match=f"{message}.*") as caught:
        to("orin")
    assert "on target 'board'" in str(caught.value)
    assert not ran.exists()


@pytest.mark.parametrize(("text", "path"), [("Match tagged x\n", ""), ("Match tagged x\nInclude more\n", None)])
def test_what_cannot_be_asked_is_refused(
    home: Path, monkeypatch: pytest.MonkeyPatch, text: str, path: str | None
) -> None:
    """Without ssh, or with another file that may hold a command, a criterion that is not known here is refused."""
    write(home, text)
    if path is not None:
        monkeypatch.setenv("PATH", path)
    with pytest.raises(UserError, match=r"applies `Match tagged` to 'orin'.*if ssh is installed"):
        to("orin")


def test_blocks_of_other_hosts_are_ignored(home: Path, tmp_path: Path) -> None:
    """A block that does not apply to this host may have any command; a later Match by host applies."""
    write(
        home,
        f'Host work\n ProxyCommand touch {tmp_path}/ran\nMatch host work exec "touch {tmp_path}/ran"\n User x\n'
        "Match originalhost orin\n User matched\n",
    )
    assert to("orin")[0].user == "matched"
    assert not (tmp_path / "ran").exists()


def test_includes(home: Path) -> None:
    """Included files are inserted in place; the block that includes them continues after them."""
    folder = home / ".ssh"
    (folder / "conf.d").mkdir()
    (folder / "conf.d" / "a").write_text("Host orin\n User included\n")
    (folder / "user").write_text("Port 77\n")
    path = write(home, "Include conf.d/*\nUser everywhere\nHost orin\n Include user\n HostName there\n")
    (hop,) = to("orin")
    openssh = by_openssh(path, "orin")
    assert (hop.user, hop.port, hop.host) == ("included", 77, "there")
    assert [openssh[key][0] for key in ("user", "port", "hostname")] == ["included", "77", "there"]
    assert to("nano")[0].user == "everywhere"
    (folder / "user").write_text("Host other\n Port 1\n")
    with pytest.raises(UserError, match="move the Include to the top"):
        to("orin")
    write(home, "Include config\n")
    with pytest.raises(UserError, match="look for a loop"):
        to("orin")


@pytest.mark.parametrize("text", ['Host "orin\n', "Port\n", "Host orin\n Port x\n", "Match host\n User x\n", "!!\n"])
def test_a_broken_config_is_one_message(home: Path, text: str) -> None:
    """A malformed config is a user error whose message names the file."""
    path = write(home, text)
    with pytest.raises(UserError, match=rf"{path}|`Match host`"):
        to("orin")


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("jump", (None, "jump", None)),
        ("me@jump:2222", ("me", "jump", 2222)),
        ("ssh://me@jump:2222/", ("me", "jump", 2222)),
        ("me@[fe80::1]:22", ("me", "fe80::1", 22)),
        ("fe80::1", (None, "fe80::1", None)),
        ("a@b@jump", ("a@b", "jump", None)),
    ],
)
def test_addresses_of_jump_hosts(text: str, address: tuple[str | None, str, int | None]) -> None:
    """User, host and port are split; omitted parts are None, so that the config decides."""
    assert split_address(text) == address


@pytest.mark.parametrize("text", ["", "me@", "jump:0", "jump:99999", "jump:x"])
def test_malformed_addresses(text: str) -> None:
    """Malformed addresses raise ``ValueError``."""
    with pytest.raises(ValueError, match=r"ProxyJump|invalid literal"):
        split_address(text)


WORDS = st.text(alphabet=string.ascii_lowercase + "*?.-", min_size=1, max_size=6)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    patterns=st.lists(st.tuples(st.sampled_from(["", "!"]), WORDS), min_size=1, max_size=3),
    name=st.text(alphabet="abc.-", min_size=1, max_size=4),
    port=st.sampled_from([22, 2222]),
    hashed=st.booleans(),
)
def test_known_hosts_match_as_in_openssh(
    home: Path, patterns: list[tuple[str, str]], name: str, port: int, hashed: bool
) -> None:
    """Plain, hashed, wildcard and negated names match the same hosts as in ``ssh-keygen -F``."""
    public = (home / ".ssh" / "id_ed25519.pub").read_text().rsplit(" ", 1)[0]
    expected = name if port == 22 else f"[{name}]:{port}"
    hosts = ",".join(no + (word if port == 22 else f"[{word}]:{port}") for no, word in patterns)
    path = home / "known"
    path.write_text(f"{hosts} {public}\n")
    if hashed:
        call("ssh-keygen", "-H", "-f", str(path))
    try:
        matched = call("ssh-keygen", "-F", expected, "-f", str(path)) != ""
    except OSError:
        raise
    except Exception:  # noqa: BLE001 - ssh-keygen exits with 1 if nothing matches
        matched = False
    assert bool(known_keys(expected, [path]).keys) == matched


def test_lines_without_a_key(home: Path) -> None:
    """Comments, incomplete lines, keys under a wrong type and missing files yield no key."""
    path = home / "known"
    words = (home / ".ssh" / "id_ed25519.pub").read_text().split()
    path.write_text(f"# orin {words[0]} {words[1]}\norin {words[0]}\norin ssh-rsa {words[1]}\norin {words[0]} ####\n")
    known = known_keys("orin", [path, home / "none"])
    assert (known.keys, known.revoked, known.authority) == ({}, set(), False)
    path.write_text(f"@cert-authority * {words[0]} {words[1]}\n@else orin {words[0]} {words[1]}\n")
    assert (known_keys("orin", [path]).keys, known_keys("orin", [path]).authority) == ({}, True)
    assert not matches("|1|x|y", "orin")


def test_files_are_relative_to_the_config_of_the_target(home: Path) -> None:
    """``identity`` and ``known_hosts`` are relative to hil.toml; ``~`` is the user's home."""
    text = '[targets.board]\nkind = "ssh"\nhost = "orin"\nidentity = "ci/key"\nknown_hosts = "~/known"\n'
    text += '[models.m]\npath = "m.onnx"\ndata = "m.npz"\n'
    for name in ("m.onnx", "m.npz"):
        (home / name).touch()
    (home / "hil.toml").write_text(text)
    (hop,) = route("board", load(home / "hil.toml").target("board"))
    assert (hop.identities, hop.known_hosts) == ((home / "ci" / "key",), (home / "known",))


@pytest.mark.parametrize(
    ("text", "keys"),
    [
        ("", {"identity": "~nobody-of-ours/id"}),
        ("", {"known_hosts": "~nobody-of-ours/known"}),
        ("Host orin\n UserKnownHostsFile ~nobody-of-ours/known\n", {}),
        ("Include ~nobody-of-ours/config\n", {}),
    ],
)
def test_the_home_folder_of_an_unknown_account(home: Path, text: str, keys: dict[str, str]) -> None:
    """A path in the home folder of an unknown account is a user error, in one line with the path."""
    write(home, text)
    with pytest.raises(UserError, match=r"~nobody-of-ours/\w+' is in the home folder.*not exist: on target 'board'"):
        to("orin", **keys)


def test_an_account_without_a_name(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An account without a user name is a user error with the command that fixes it."""

    def nobody() -> str:
        raise KeyError("getpwuid(): uid not found: 4711")

    monkeypatch.setattr("getpass.getuser", nobody)
    with pytest.raises(UserError, match="has no user name: on target 'board': set the environment variable LOGNAME"):
        to("orin")
    assert home.exists()
