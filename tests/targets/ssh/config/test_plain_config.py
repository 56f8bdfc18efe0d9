from __future__ import annotations

import getpass
import os
import pwd
import re
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hil.errors import UserError
from hil.targets.ssh.config import plain_config
from tests.targets.ssh.config.configs import CONFIGS
from tests.targets.ssh.config.test_router import to, write
from tests.targets.sshd import call

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hil.targets.ssh.config.hop import Hop

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


@pytest.fixture(autouse=True)
def without_ssh(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hide the program ``ssh`` and the system's SSH config."""
    monkeypatch.setattr(shutil, "which", lambda _: None)
    monkeypatch.setattr(plain_config, "SYSTEM", Path("/nowhere"))


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


@pytest.mark.parametrize("name", CONFIGS)
def test_each_config_is_read_right_or_refused(home: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """Without ssh, a config has the hops that ssh would give it, or is refused; it is never misread."""
    monkeypatch.setenv("HIL_X", "/from/x")
    (home / ".ssh" / "more").write_text("HostName 10.0.0.5\n")
    written = CONFIGS[name]
    text = written.text.replace("{{", "{").replace("}}", "}").replace("{ssh}", str(home / ".ssh"))
    path = write(home, text)
    try:
        hops = to("rover")
    except UserError as error:
        refused = str(error)
    else:
        refused = ""
    assert bool(refused) == (name not in LENIENT if written.refused else name in ONLY_SSH)
    if refused:
        assert "on target 'board'" in refused
        assert str(path) in refused
        return
    expected = [hop.replace("me@", f"{getpass.getuser()}@").lower() for hop in written.hops]
    assert not expected or [f"{hop.user}@{hop.host}:{hop.port}".lower() for hop in hops] == expected
    if not written.refused:
        assert [hop.proxy for hop in hops] == [None] * len(hops) or "proxycommand" in by_openssh(path, "rover")


LENIENT = {"unknown-keyword"}
"""Configs that ssh refuses and paramiko does not, because paramiko has no list of keywords."""

ONLY_SSH = {
    "absent-include",
    "canonical-names",
    "comments",
    "exec-for-another-host",
    "hash-with-jump",
    "identities",
    "identity-tokens",
    "include",
    "include-in-a-block",
    "include-in-another-block",
    "ipv6-zone",
    "known-hosts-with-space",
    "match-all-include",
    "match-exec",
    "match-exec-false",
    "match-final-all",
    "match-final-host",
    "match-negated-exec",
    "number-sign-in-a-word",
    "quotes",
}
"""Configs that ssh reads, and that are refused without it."""


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("Include other\n", "Include in line 1"),
        ("# x\nHost *\n CanonicalizeHostname yes\n", "CanonicalizeHostname in line 3"),
        ('Match exec "touch {ran}"\n User x\n', "Match exec.*in line 1"),
        ('Match host=orin exec "touch {ran}"\n User x\n', "in line 1"),
        ("Match Host orin\n User x\n", "in line 1"),
        ("Match tagged x\n User x\n", "in line 1"),
        ("Host orin # mine\n", "comment in a value in line 1"),
        ("Host orin\n Ciphers -aes128-ctr\n", "a change of the usual Ciphers in line 2"),
        ("Host [a-z]\n", "a bracket in a pattern"),
    ],
)
def test_what_paramiko_does_not_know_is_refused(home: Path, text: str, message: str) -> None:
    """A config that paramiko would misread is refused with file, line and advice, and none of it is executed."""
    write(home, text.replace("{ran}", str(home / "ran")))
    with pytest.raises(UserError, match=rf"{message}.*without OpenSSH's client: on target 'board': install it"):
        to("orin")
    assert not (home / "ran").exists()


def test_the_config_of_the_system_comes_last(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The system's config applies where the user's has no value, outside of the user's last block."""
    (home / "system").write_text("User nobody\nPort 77\n")
    monkeypatch.setattr(plain_config, "SYSTEM", home / "system")
    write(home, "Host orin\n User me\nHost other\n Port 1\n")
    assert (to("orin")[0].user, to("orin")[0].port) == ("me", 77)


@pytest.mark.parametrize("text", ["Port\n", "Host orin\n Port x\n", "!!\n"])
def test_a_broken_config_is_one_message(home: Path, text: str) -> None:
    """A malformed config is a user error whose message names the file."""
    path = write(home, text)
    with pytest.raises(UserError, match=re.escape(str(path))):
        to("orin")


def test_an_account_without_a_name(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An account without a user name is a user error with the command that fixes it."""

    def nobody() -> str:
        raise KeyError("getpwuid(): uid not found: 4711")

    monkeypatch.setattr("getpass.getuser", nobody)
    with pytest.raises(UserError, match="has no user name: on target 'board': set the environment variable LOGNAME"):
        to("orin")
    assert home.exists()
