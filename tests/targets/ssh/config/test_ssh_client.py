from __future__ import annotations

import getpass
import os
import pwd
import re
import shutil
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from hil.config.spec import TargetSpec
from hil.errors import UserError
from hil.targets.ssh.config import route, ssh_client
from tests.targets.ssh.config.configs import CONFIGS
from tests.targets.sshd import becomes_true

if TYPE_CHECKING:
    from hil.targets.ssh.config.hop import Hop

MORE = "HostName 10.0.0.5\n"


def write(home: Path, text: str) -> Path:
    """Write the user's SSH config; return its path."""
    path = home / ".ssh" / "config"
    path.write_bytes(text.encode())
    return path


def to(host: str, **keys: object) -> tuple[Hop, ...]:
    """Return the hops to a target with this host."""
    return route("board", TargetSpec.model_validate({"kind": "ssh", "host": host, **keys}))


def ssh(*options: str) -> subprocess.CompletedProcess[str]:
    """Run ssh."""
    program = shutil.which("ssh") or pytest.skip("ssh is not installed: install openssh-client")
    return subprocess.run([program, *options], capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)


def asked(path: Path, hop: Hop) -> dict[str, list[str]]:
    """Return what ``ssh -G`` prints for the name, user and port of a hop."""
    values: dict[str, list[str]] = {}
    for line in ssh("-G", "-F", str(path), "-l", hop.user, "-p", str(hop.port), "--", hop.name).stdout.splitlines():
        key, _, value = line.partition(" ")
        values.setdefault(key, []).append(value)
    return values


def key_files(path: Path, hop: Hop) -> tuple[list[str], list[str]]:
    """Return the key files and the certificates that ssh opens for a hop, with tokens and variables expanded."""
    # A ProxyCommand on the command line, so that ssh connects to nothing; it names the files before that.
    options = ("-v", "-o", "ProxyCommand=false", "-o", "ProxyJump=none", "-l", hop.user, "-p", str(hop.port))
    said = ssh("-F", str(path), *options, "--", hop.name).stderr
    keys, certificates = (
        re.findall(rf"{kind} file (.*) type -?\d+$", said, re.MULTILINE) for kind in ("identity", "certificate")
    )
    return [file for file in keys if not file.endswith("-cert")], certificates


@pytest.mark.parametrize("name", CONFIGS)
def test_the_route_is_the_one_of_ssh(home: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """Each hop has the address, login, keys, host key name and files of ``ssh -G``; what ssh refuses is refused."""
    monkeypatch.setenv("HIL_X", "/from/x")
    (home / ".ssh" / "more").write_text(MORE)
    written = CONFIGS[name]
    text = written.text if "exec" in written.text else written.text.replace("{{", "{").replace("}}", "}")
    path = write(home, text.replace("{ssh}", str(home / ".ssh")))
    plainly = ssh("-G", "-T", "-F", str(path), "--", "rover")
    assert written.refused or plainly.returncode == 0, plainly.stderr
    if plainly.returncode:
        with pytest.raises(UserError, match=r"ssh refuses .*: on target 'board'") as refused:
            to("rover")
        assert all(line.strip() in str(refused.value) for line in plainly.stderr.splitlines())
        return
    hops = to("rover")
    me = getpass.getuser()
    if written.hops:
        expected = [hop.replace("me@", f"{me}@") for hop in written.hops]
        assert [f"{hop.user}@{hop.host}:{hop.port}" for hop in hops] == expected
    for hop in hops:
        assert_as_asked(hop, path, home)


def assert_as_asked(hop: Hop, path: Path, home: Path) -> None:
    """Assert that all fields of ``hop`` are those of ssh."""
    values, account = asked(path, hop), pwd.getpwuid(os.getuid()).pw_dir
    assert [hop.host, hop.user, str(hop.port)] == [values[key][0] for key in ("hostname", "user", "port")]
    if hop.chosen:
        keys, certificates = key_files(path, hop)
        assert [str(file) for file in hop.identities] == [str(Path(key.replace(account, str(home)))) for key in keys]
        assert [str(file) for file in hop.certificates] == [one.replace(account, str(home)) for one in certificates]
    assert hop.only == (values["identitiesonly"] == ["yes"])
    alias = values.get("hostkeyalias", [None])[0]
    assert hop.known_as == (alias or (hop.host if hop.port == 22 else f"[{hop.host}]:{hop.port}"))
    known = " ".join(values["userknownhostsfile"] + values["globalknownhostsfile"]).replace(account, str(home))
    assert " ".join(map(str, hop.known_hosts)) == known
    assert [str(hop.revoked)] == values.get("revokedhostkeys", ["None"])
    if "proxycommand" in values and hop.proxy is not None:
        command = values["proxycommand"][0]
        for token, value in (("h", hop.host), ("p", str(hop.port)), ("r", hop.user), ("n", hop.name), ("%", "%")):
            command = command.replace(f"%{token}", value)
        assert hop.proxy == command


def test_the_login_of_hil_toml_takes_part(home: Path) -> None:
    """``user`` and ``port`` of a target are passed to ssh, so that the config's criteria and tokens use them."""
    write(home, "Match user hil\n HostName ten\nHost *\n User x\n Port 1\n IdentityFile /k/%r-%p\n")
    (hop,) = to("rover", user="hil", port=2222)
    assert (hop.host, hop.user, hop.port, str(hop.identities[0])) == ("ten", "hil", 2222, "/k/hil-2222")


@pytest.mark.parametrize(
    "host", ["-oProxyCommand=touch x", "a;b", "a b", "$(touch x)", "`x`", "", " ", "me@rover", "rover:22", "a\nb"]
)
def test_odd_host_names_are_refused(home: Path, host: str) -> None:
    """A host name that could be an option or a shell command never reaches ssh."""
    write(home, "Host *\n HostName 10.0.0.5\n")
    with pytest.raises(UserError, match="on target 'board'"):
        to(host)


@pytest.mark.parametrize("user", ["-x", "a;b", "$(x)", "a b", "x\\", "`x`", "a'b"])
def test_odd_users_are_refused(home: Path, user: str) -> None:
    """A user name that could be an option or a shell command never reaches ssh."""
    write(home, "Host *\n ProxyCommand nc %h %p %r\n")
    with pytest.raises(UserError, match="cannot be a user name: on target 'board'"):
        to("rover", user=user)
    assert to("rover", user="LAB\\hil-1.x")[0].user == "LAB\\hil-1.x"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("Host rover\n ProxyJump -oProxyCommand=x\n", "cannot be a host name"),
        ("Host rover\n ProxyJump 'a;b'\n", "cannot be a"),
        ('Host rover\n HostName "$(x)"\n', "has the HostName .* write a host name"),
        ("Host rover\n IdentityFile /k/%q\n", "unknown token '%q'"),
        ("Host rover\n IdentityFile ${HIL_NO}\n", "no such environment variable"),
        ("Host rover\n ProxyCommand nc %d\n", "unknown token '%d'"),
        ("Host rover\n PubkeyAuthentication no\n", "without keys"),
        ("Host rover\n PreferredAuthentications password\n", "without keys"),
        ("Host rover\n KnownHostsCommand /bin/x %H\n", "KnownHostsCommand.*known_hosts = "),
        ("Host rover\n BindInterface lo\n", "BindAddress"),
        ("Host rover\n ProxyCommand x\n ProxyUseFdpass yes\n", "ProxyUseFdpass"),
        ("Host rover\n UserKnownHostsFile known\n", "relative path 'known'"),
        ("Host rover\n Ciphers chacha20-poly1305@openssh.com\n", "allows no ciphers .*: add to ciphers aes128"),
        ("Host rover\n HostKeyAlgorithms sk-ssh-ed25519@openssh.com\n", "allows no host keys"),
        ("Host rover\n ProxyJump rover\n", "loop"),
        ("Host rover\n ProxyJump a\nHost a\n ProxyJump rover\n", "look for a loop"),
        ("Host *\n ProxyJump a,b,c,d,e,f,g,h,i,j\n", "look for a loop"),
    ],
)
def test_what_cannot_be_followed_is_refused(home: Path, text: str, message: str) -> None:
    """An unsupported setting that would change the route or the keys is a user error."""
    write(home, text)
    with pytest.raises(UserError, match=message) as refused:
        to("rover")
    assert "on target 'board'" in str(refused.value)


def test_a_known_hosts_file_of_the_target_replaces_a_command(home: Path) -> None:
    """With ``known_hosts`` in hil.toml, KnownHostsCommand is not needed."""
    write(home, "Host rover\n KnownHostsCommand /bin/x %H\n")
    assert [str(file) for file in to("rover", known_hosts="/k")[0].known_hosts] == ["/k"]


def test_a_program_of_the_config_that_hangs(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """If a program of ``Match exec`` does not end, it is killed after a time limit, and the target is a user error."""
    monkeypatch.setattr(ssh_client, "LONGEST", 0.5)
    write(home, f'Match exec "echo $$ > {home}/pid; exec sleep 60"\n User x\n')
    began = time.monotonic()
    with pytest.raises(UserError, match=r"did not print within .*: on target 'board'"):
        to("rover")
    assert time.monotonic() - began < 5
    place = Path("/proc", (home / "pid").read_text().strip(), "cmdline")
    assert becomes_true(5, lambda: not place.exists() or not place.read_bytes())  # empty: ended, but not yet awaited


def test_a_program_of_the_config_that_leaves_one_behind(home: Path) -> None:
    """A program that ``Match exec`` starts in the background does not delay the answer."""
    write(home, 'Match exec "sleep 5 & true"\n HostName 10.0.0.5\n')
    began = time.monotonic()
    assert to("rover")[0].host == "10.0.0.5"
    assert time.monotonic() - began < 4


def test_escapes_of_a_config_are_shown_as_text(home: Path) -> None:
    """A message that quotes ssh's error about the config has no control characters, even if the config has some."""
    write(home, "\x1b[2JHost x\n")
    with pytest.raises(UserError) as refused:
        to("rover")
    assert "\x1b" not in str(refused.value)


def test_without_another_home_the_account_decides(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """With a HOME without ``.ssh``, ssh reads the account's own config and that of the system."""
    monkeypatch.setenv("HOME", str(tmp_path))
    (hop,) = to("rover.invalid", user="x", port=1)
    assert str(hop.known_hosts[0]).startswith(pwd.getpwuid(os.getuid()).pw_dir)
