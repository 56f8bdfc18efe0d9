from __future__ import annotations

import base64
import contextlib
import hashlib
import os
import socket
import subprocess
import threading
import time
from typing import TYPE_CHECKING

import paramiko
import pytest

from hil.errors import LabError, TargetUnreachable, UserError
from hil.targets.ssh import handshake, ssh_errors
from hil.targets.ssh.config.hop import Hop
from hil.targets.ssh.known_hosts import Known
from hil.targets.target import open_target
from tests.ports import free_port
from tests.targets.sshd import USER, Speaker, becomes_true, call, make_key

if TYPE_CHECKING:
    from pathlib import Path

    from hil.config.spec import TargetSpec
    from tests.targets.conftest import Machine, MakeServer


def refused(spec: TargetSpec, kind: type[LabError]) -> str:
    """Return the message of a target that cannot be reached; no non-daemon thread may be left."""
    with pytest.raises(kind) as caught:
        open_target("board", spec).start_agent()
    assert type(caught.value) is kind
    assert "target 'board'" in str(caught.value)
    assert [thread for thread in threading.enumerate() if not thread.daemon] == [threading.main_thread()]
    return str(caught.value)


def connect(spec: TargetSpec) -> None:
    """Assert that a command runs on the target, which needs the same connection as an agent and starts faster."""
    with open_target("board", spec) as target:
        assert target.run(["true"]).code == 0


def print_of(key: Path) -> str:
    """Return a public key's fingerprint as ssh-keygen prints it."""
    return call("ssh-keygen", "-lf", f"{key}.pub").split()[1]


def test_an_agent_across_a_network(machine: Machine) -> None:
    """A remote agent answers, uses the configured store, and the connection ends with it."""
    target = open_target("board", machine.spec())
    with target.start_agent() as agent:
        assert agent.hello["store"] == str(machine.store)
        assert agent.probe()["cores"] >= 1
    with pytest.raises(LabError, match="the agent is closed"):
        agent.probe()
    assert not any(thread.name.startswith("hil-stderr") for thread in threading.enumerate())


def test_an_unknown_host_key_is_never_added(machine: Machine) -> None:
    """An unknown host key is never added; the message has the fingerprint and the command that adds it."""
    machine.known_hosts.write_text("")
    text = refused(machine.spec(), ssh_errors.UnknownHostKey)
    assert print_of(machine.server.key) in text
    assert f"ssh-keyscan -p {machine.server.port} 127.0.0.1 >> {machine.known_hosts}" in text
    assert text.index("compare") < text.index("ssh-keyscan")
    assert machine.known_hosts.read_text() == ""
    assert issubclass(ssh_errors.UnknownHostKey, TargetUnreachable)


def test_the_advised_command_adds_the_key(machine: Machine) -> None:
    """After the command in the message was run, the next session connects."""
    machine.known_hosts.unlink()
    text = refused(machine.spec(), ssh_errors.UnknownHostKey)
    line = text.partition("then run: ")[2]
    call("sh", "-c", line)
    connect(machine.spec())


def test_a_changed_host_key_is_a_lab_error(machine: Machine, tmp_path: Path) -> None:
    """A host key that differs from the known one is a lab error, without a fallback."""
    other = make_key(tmp_path / "other")
    words = (tmp_path / "other.pub").read_text().split()
    machine.known_hosts.write_text(f"# ours\n[127.0.0.1]:{machine.server.port} {words[0]} {words[1]}\n")
    text = refused(machine.spec(), ssh_errors.ChangedHostKey)
    assert f"{machine.known_hosts}:2" in text
    assert print_of(machine.server.key) in text
    assert print_of(other) not in text
    assert not issubclass(ssh_errors.ChangedHostKey, TargetUnreachable)


def test_an_unknown_key_of_another_type_is_refused(machine: Machine, tmp_path: Path) -> None:
    """A host whose known key is of one type is not accepted with an unknown key of another type."""
    make_key(tmp_path / "other", "-t", "ecdsa", "-N", "")
    words = (tmp_path / "other.pub").read_text().split()
    machine.known_hosts.write_text(f"[127.0.0.1]:{machine.server.port} {words[0]} {words[1]}\n")
    refused(machine.spec(), ssh_errors.ChangedHostKey)


def test_the_known_key_is_requested(machine: Machine, serve: MakeServer, tmp_path: Path) -> None:
    """A server with several keys shows the known one, as it does to OpenSSH."""
    second = make_key(tmp_path / "second", "-t", "rsa", "-b", "2048", "-N", "")
    machine.server = serve(f"HostKey {second}")
    words = (tmp_path / "second.pub").read_text().split()
    machine.known_hosts.write_text(f"[127.0.0.1]:{machine.server.port} {words[0]} {words[1]}\n")
    connect(machine.spec())


@pytest.mark.parametrize(
    "only",
    [
        "KexAlgorithms diffie-hellman-group14-sha1",
        "KexAlgorithms diffie-hellman-group-exchange-sha1",
        "HostKeyAlgorithms ssh-rsa",
        "Ciphers aes128-cbc",
        "MACs hmac-sha1\nCiphers aes128-ctr",
    ],
)
def test_a_server_with_only_old_algorithms(machine: Machine, serve: MakeServer, tmp_path: Path, only: str) -> None:
    """SHA-1 and CBC are never negotiated, whatever version of paramiko is installed."""
    rsa = make_key(tmp_path / "rsa", "-t", "rsa", "-b", "2048", "-N", "")
    machine.server = serve(only, key=rsa)
    machine.known_hosts.write_text(machine.server.known_line())
    assert "no common encryption algorithm" in refused(machine.spec(), ssh_errors.NotSsh)


def test_a_login_is_never_signed_with_sha1(machine: Machine, serve: MakeServer) -> None:
    """The login fails on a server that accepts RSA only with SHA-1; with SHA-2 the same key works."""
    for file in (machine.identity, machine.identity.with_name("id_ed25519.pub")):
        file.unlink()
    make_key(machine.identity, "-t", "rsa", "-b", "2048", "-N", "")
    for accepted in ("rsa-sha2-512,rsa-sha2-256", "ssh-rsa"):
        machine.server = serve(f"PubkeyAcceptedAlgorithms {accepted}")
        machine.known_hosts.write_text(machine.server.known_line())
        spec = machine.spec(identity=str(machine.identity))
        if accepted == "ssh-rsa":
            refused(spec, ssh_errors.RefusedKey)
        else:
            connect(spec)


def test_an_old_paramiko_offers_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    """Old algorithms among paramiko's defaults are not offered."""
    for name in ("keys", "pubkeys"):
        offered = getattr(paramiko.Transport, f"_preferred_{name}")
        monkeypatch.setattr(paramiko.Transport, f"_preferred_{name}", (*offered, "ssh-rsa", "ssh-dss"))
    known = {**paramiko.Transport._key_info, "ssh-rsa": None, "ssh-dss": None}  # noqa: SLF001 - as they were in 3.5
    monkeypatch.setattr(paramiko.Transport, "_key_info", known)
    ours, theirs = socket.socketpair()
    hop = Hop("board", "board", 22, "hil", (), chosen=False, only=False, known_as="board", known_hosts=())
    transport = handshake.transport_over(ours, 1, Known(), hop)
    options = transport.get_security_options()
    assert {*transport.preferred_pubkeys, *options.key_types} == set(handshake.SIGNATURES)
    for chosen, allowed in (
        (options.kex, handshake.KEX),
        (options.ciphers, handshake.CIPHERS),
        (options.digests, handshake.MACS),
    ):
        assert chosen
        assert set(chosen) <= set(allowed)
    for end in (ours, theirs):
        end.close()


def test_a_revoked_key_is_refused(machine: Machine) -> None:
    """``@revoked`` overrides every line with the same key."""
    with machine.known_hosts.open("a") as file:
        file.write(f"@revoked * {machine.server.known_line('x').partition(' ')[2]}")
    assert "revoked" in refused(machine.spec(), ssh_errors.ChangedHostKey)


def test_a_file_of_known_hosts_in_the_config_is_the_only_one(machine: Machine, tmp_path: Path) -> None:
    """``known_hosts`` of a target replaces the user's known_hosts files."""
    empty = tmp_path / "known"
    empty.write_text("")
    assert f">> {empty}" in refused(machine.spec(known_hosts=str(empty)), ssh_errors.UnknownHostKey)
    empty.write_text(machine.server.known_line())
    machine.known_hosts.write_text("")
    connect(machine.spec(known_hosts=str(empty)))


def test_a_refused_key(machine: Machine, tmp_path: Path) -> None:
    """If the server refuses the key, the message has the account, the key and the command that authorizes the key."""
    other = make_key(tmp_path / "other")
    text = refused(machine.spec(identity=str(other)), ssh_errors.RefusedKey)
    assert f"{USER} could not log in" in text
    assert str(other) in text
    assert "ssh-copy-id" in text


def test_a_missing_key(machine: Machine, tmp_path: Path) -> None:
    """A configured key that does not exist is reported, and no other key is tried instead."""
    text = refused(machine.spec(identity=str(tmp_path / "none")), ssh_errors.RefusedKey)
    assert "there was no key to try" in text
    assert f"{tmp_path / 'none'}: No such file" in text


def test_an_encrypted_key_leads_to_the_agent(machine: Machine, tmp_path: Path) -> None:
    """For a key with a passphrase, the message has the command that adds the key to the SSH agent."""
    locked = make_key(tmp_path / "locked", "-t", "ed25519", "-N", "secret phrase")
    text = refused(machine.spec(identity=str(locked)), ssh_errors.RefusedKey)
    assert f"run ssh-add {locked}" in text
    assert "secret" not in text


@pytest.mark.parametrize("options", [("-t", "rsa", "-b", "2048", "-m", "PEM"), ("-t", "ecdsa", "-m", "PKCS8")])
def test_old_formats_of_encrypted_keys(machine: Machine, tmp_path: Path, options: tuple[str, ...]) -> None:
    """PEM and PKCS8 files with a passphrase are reported as encrypted, not as malformed."""
    locked = make_key(tmp_path / "locked", *options, "-N", "secret phrase")
    assert "ssh-add" in refused(machine.spec(identity=str(locked)), ssh_errors.RefusedKey)


def test_the_ssh_agent_has_the_key(machine: Machine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """If ``identity`` names an encrypted key file, the SSH agent's copy of the key is used to log in."""
    place = tmp_path / "agent.sock"
    command = ["ssh-agent", "-D", "-a", str(place)]
    agent = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    try:
        assert becomes_true(10, place.exists)
        monkeypatch.setenv("SSH_AUTH_SOCK", str(place))
        call("ssh-add", "-q", str(machine.identity))
        call("ssh-keygen", "-q", "-p", "-P", "", "-N", "secret phrase", "-f", str(machine.identity))
        connect(machine.spec(identity=str(machine.identity)))
        machine.identity.unlink()
        connect(machine.spec())
    finally:
        agent.kill()
        agent.wait()


@pytest.mark.parametrize("words", [None, b"", b"\x00\x00\x00\x01\x05"])
def test_an_ssh_agent_that_hangs_or_is_broken(
    machine: Machine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: bytes | None
) -> None:
    """The agent is not contacted if a key file works; otherwise its failure is reported after a time limit."""
    place = tmp_path / "agent.sock"
    monkeypatch.setenv("SSH_AUTH_SOCK", str(place))
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(place))
        listener.listen()

        def answer() -> None:
            with contextlib.suppress(OSError):
                client, _ = listener.accept()
                client.recv(100)
                client.sendall(words or b"")
                client.close()

        if words is not None:
            threading.Thread(target=answer, daemon=True).start()
        spec = machine.spec(identity=str(machine.identity), connect_timeout="2 s")
        connect(spec)
        call("ssh-keygen", "-q", "-p", "-P", "", "-N", "secret phrase", "-f", str(machine.identity))
        assert "the SSH agent " in refused(spec, ssh_errors.RefusedKey)


def test_revoked_host_keys_of_the_users_config(machine: Machine, tmp_path: Path) -> None:
    """A known key that is revoked is refused; with an unreadable list of revoked keys, every host is refused."""
    listed = tmp_path / "revoked"
    (machine.home / ".ssh" / "config").write_text(f"Host *\n RevokedHostKeys {listed}\n")
    public = machine.server.key.with_name(f"{machine.server.key.name}.pub").read_text()
    assert "cannot be read: No such file" in refused_plainly(machine.spec())
    for unreadable, message in ((b"SSHKRL\n\0\0\0", "are a KRL"), (b"# ours\nnonsense\n", "no key in line 2")):
        listed.write_bytes(unreadable)
        assert message in refused_plainly(machine.spec())
    listed.write_text(f"# ours\n\n{public}")
    assert "the host key was revoked" in refused(machine.spec(), ssh_errors.ChangedHostKey)
    listed.write_text(machine.identity.with_suffix(".pub").read_text())
    connect(machine.spec())


def refused_plainly(spec: TargetSpec) -> str:
    """Return the message of a lab error that is not ``TargetUnreachable``."""
    with pytest.raises(LabError) as caught:
        open_target("board", spec).start_agent()
    assert not isinstance(caught.value, TargetUnreachable)
    return str(caught.value)


def test_a_server_that_requires_a_password(machine: Machine, serve: MakeServer) -> None:
    """A server that accepts only passwords is refused, and the message states that it accepts nothing else."""
    machine.server = serve("PubkeyAuthentication no", "PasswordAuthentication yes")
    machine.known_hosts.write_text(machine.server.known_line())
    assert "the server accepts only password" in refused(machine.spec(), ssh_errors.RefusedKey)


def test_an_unknown_host_name(machine: Machine) -> None:
    """A host name without an address is reported."""
    assert "no-such.invalid" in refused(machine.spec(host="no-such.invalid"), ssh_errors.UnknownHost)


def test_a_closed_port(machine: Machine) -> None:
    """A port on which nothing listens is reported."""
    assert "nothing listens" in refused(machine.spec(port=free_port()), ssh_errors.PortClosed)


def test_a_black_hole(machine: Machine) -> None:
    """A host that drops packets is reported after ``connect_timeout``."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)  # once its queue is full, the kernel drops new connections
        waiting = [socket.socket() for _ in range(3)]
        for client in waiting:
            client.settimeout(0)
            client.connect_ex(listener.getsockname())
        began = time.monotonic()
        spec = machine.spec(port=listener.getsockname()[1], connect_timeout="500 ms")
        assert "no answer within 0.5 s" in refused(spec, ssh_errors.NoAnswer)
        assert 0.4 < time.monotonic() - began < 2
        for client in waiting:
            client.close()


@pytest.mark.parametrize(
    ("words", "close", "kind", "message"),
    [
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", True, ssh_errors.NotSsh, "set port to that of its SSH server"),
        (b"\r\n".join([b"220 mail ready"] * 120) + b"\r\n", False, ssh_errors.NotSsh, "does not speak SSH"),
        (b"", False, ssh_errors.NotSsh, "no SSH greeting within 1 s"),
        (b"", True, ssh_errors.NotSsh, "closed before any greeting"),
        (b"SSH-1.5-old\r\n", False, ssh_errors.NotSsh, "no common encryption"),
        (b"SSH-2.0-stuck\r\n", False, ssh_errors.NoAnswer, "SSH-2.0-stuck stopped answering"),
        (b"SSH-2.0-broken\r\n", True, ssh_errors.ConnectionLost, "during the key exchange"),
        (b"SSH-2.0-odd\r\n" + b"\xff" * 200, False, ssh_errors.ConnectionLost, "during the key exchange"),
    ],
)
def test_other_servers(machine: Machine, words: bytes, close: bool, kind: type[LabError], message: str) -> None:
    """A server that does not speak SSH, or stops in its greeting, gives one message within the time limit."""
    with Speaker(words, close=close) as speaker:
        began = time.monotonic()
        assert message in refused(machine.spec(port=speaker.port, connect_timeout="500 ms"), kind)
        assert time.monotonic() - began < 3


def test_a_target_without_a_host(machine: Machine) -> None:
    """An SSH target without ``host`` is a user error."""
    with pytest.raises(UserError, match=r"has no host: on target 'board'"):
        open_target("board", machine.spec(host=None)).start_agent()


def test_an_alias_of_the_users_config(machine: Machine) -> None:
    """``host`` may be an alias of the SSH config, which then gives host name, port, user and key."""
    hidden = machine.identity.rename(machine.home / "hidden")
    machine.identity = hidden
    (machine.home / ".ssh" / "config").write_text(
        f"Host orin\n HostName 127.0.0.1\n Port {machine.server.port}\n User {USER}\n IdentityFile {hidden}\n"
        " HostKeyAlias the-board\n"
    )
    machine.known_hosts.write_text(machine.server.known_line("the-board"))
    connect(machine.spec(host="orin", port=None, user=None))
    assert "not known" in refused(machine.spec(), ssh_errors.UnknownHostKey)


def test_jump_hosts(machine: Machine, serve: MakeServer) -> None:
    """A target is reached through two jump hosts, and the key of each machine is verified."""
    first, second = serve(), serve()
    (machine.home / ".ssh" / "config").write_text(
        f"Host first\n HostName 127.0.0.1\n Port {first.port}\n User {USER}\n"
        f"Host second\n HostName localhost\n HostKeyAlias second\n Port {second.port}\n User {USER}\n ProxyJump first\n"
        f"Host orin\n HostName 127.0.0.1\n ProxyJump second\n"
    )
    lines = [machine.server.known_line(), first.known_line(), second.known_line("second")]
    machine.known_hosts.write_text("".join(lines))
    target = open_target("board", machine.spec(host="orin"))
    with target.start_agent() as agent:
        assert agent.probe()["cores"] >= 1
        assert target.run(["cat"], b"x" * 5_000_000).out == b"x" * 5_000_000
    for missing, name in enumerate(("", "first", "second")):
        machine.known_hosts.write_text("".join(lines[:missing] + lines[missing + 1 :]))
        text = refused(machine.spec(host="orin"), ssh_errors.UnknownHostKey)
        assert (f"(the jump host {name})" in text) == bool(name)
    assert "ssh first" in text


def test_a_closed_port_behind_a_jump_host(machine: Machine) -> None:
    """If a jump host cannot connect to the target, the message names the jump host."""
    (machine.home / ".ssh" / "config").write_text(
        f"Host jump\n HostName 127.0.0.1\n Port {machine.server.port}\n"
        "Host orin\n HostName 127.0.0.1\n ProxyJump jump\n"
    )
    text = refused(machine.spec(host="orin", port=free_port()), ssh_errors.PortClosed)
    assert "the jump host jump cannot connect" in text


def test_too_many_keys_in_the_config_do_not_hide_the_right_one(machine: Machine, tmp_path: Path) -> None:
    """``identity`` is tried before the keys of the user's config, because servers allow only a few attempts."""
    keys = [make_key(tmp_path / f"key{number}") for number in range(8)]
    text = "".join(f" IdentityFile {key}\n" for key in keys)
    (machine.home / ".ssh" / "config").write_text(f"Host 127.0.0.1\n{text}")
    refused(machine.spec(), ssh_errors.RefusedKey)
    connect(machine.spec(identity=str(machine.identity)))


def test_fingerprints_are_those_of_openssh(machine: Machine) -> None:
    """A fingerprint is the Base64 of SHA-256 without padding."""
    blob = base64.b64decode(machine.server.known_line().split()[2])
    ours = "SHA256:" + base64.b64encode(hashlib.sha256(blob).digest()).decode().rstrip("=")
    assert ours == print_of(machine.server.key)
    assert os.environ["HOME"] == str(machine.home)
