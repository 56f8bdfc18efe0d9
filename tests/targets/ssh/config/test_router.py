from __future__ import annotations

import getpass
import string
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hil.config.load import load
from hil.config.spec import TargetSpec
from hil.errors import UserError
from hil.targets.ssh.config import route, split_address
from hil.targets.ssh.known_hosts import known_keys, matches
from tests.targets.sshd import call

if TYPE_CHECKING:
    from hil.targets.ssh.config.hop import Hop


def write(home: Path, text: str) -> Path:
    """Write the user's SSH config; return its path."""
    path = home / ".ssh" / "config"
    path.write_text(text)
    return path


def to(host: str, **keys: object) -> tuple[Hop, ...]:
    """Return the hops to a target with this host."""
    return route("board", TargetSpec.model_validate({"kind": "ssh", "host": host, **keys}))


def test_without_a_config(home: Path) -> None:
    """Without a config, the default port, keys and files and the local user's name apply."""
    (hop,) = to("Orin.Local")
    assert (hop.host, hop.port, hop.user) == ("orin.local", 22, getpass.getuser())
    assert home / ".ssh" / "id_ed25519" in hop.identities
    assert not hop.chosen
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


@pytest.mark.parametrize("text", ["", "me@", "jump:0", "jump:99999", "jump:x", "[::1", "[::1]22"])
def test_malformed_addresses(text: str) -> None:
    """Malformed addresses raise ``ValueError``."""
    with pytest.raises(ValueError, match="ProxyJump"):
        split_address(text)


@pytest.mark.usefixtures("home")
def test_a_malformed_jump_of_the_target_is_named() -> None:
    """The message on a malformed ``jump`` names the target's table, which has it."""
    with pytest.raises(
        UserError, match=r"^jump in \[targets\.board\] or .*: ProxyJump 'gate:ssh' is not .*: on target"
    ):
        to("orin", jump="gate:ssh")


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
    ],
)
def test_the_home_folder_of_an_unknown_account(home: Path, text: str, keys: dict[str, str]) -> None:
    """A path in the home folder of an unknown account is a user error, in one line with the path."""
    write(home, text)
    with pytest.raises(UserError, match=r"~nobody-of-ours/\w+' is in the home folder.*not exist: on target 'board'"):
        to("orin", **keys)
