from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from hil.errors import UserError
from hil.targets.ssh import ssh_errors
from hil.targets.target import open_target
from tests.targets.ssh.test_reach import connect, print_of, refused
from tests.targets.sshd import USER, becomes_true, call, make_key

if TYPE_CHECKING:
    from hil.config.spec import TargetSpec
    from tests.targets.conftest import Machine, MakeServer

RELAY = (
    "import os,socket,sys,threading;s=socket.create_connection((sys.argv[1],int(sys.argv[2])))\n"
    "def up():\n"
    " while d:=os.read(0,65536):s.sendall(d)\n"
    "threading.Thread(target=up,daemon=True).start()\n"
    "while d:=s.recv(65536):os.write(1,d)\n"
)
"""A program that copies between its input and output and ``host port``, like ``nc``."""


def configure(machine: Machine, command: str, more: str = "") -> None:
    """Write an SSH config in which ``orin`` is the machine, reached by a ProxyCommand."""
    (machine.home / "relay.py").write_text(RELAY)
    (machine.home / ".ssh" / "config").write_text(
        f"Host orin\n HostName 127.0.0.1\n Port {machine.server.port}\n User {USER}\n ProxyCommand {command}\n{more}"
    )


def relay(machine: Machine) -> str:
    """Return the command line that copies to the server."""
    return f"{shlex.quote(sys.executable)} {machine.home}/relay.py %h %p"


def spec(machine: Machine, **keys: object) -> TargetSpec:
    """Return the target ``orin``."""
    return machine.spec(host="orin", port=None, user=None, **keys)


def processes(machine: Machine) -> list[str]:
    """Return the running relays."""
    lines = [path.read_bytes() for path in Path("/proc").glob("[0-9]*/cmdline") if path.exists()]
    return [line.decode() for line in lines if f"{machine.home}/relay.py".encode() in line]


def test_a_target_behind_a_proxy_command(machine: Machine) -> None:
    """An agent runs over a ProxyCommand, large data included; the command ends with the connection."""
    configure(machine, relay(machine))
    target = open_target("board", spec(machine))
    with target.start_agent() as agent:
        assert agent.probe()["cores"] >= 1
        assert target.run(["cat"], b"x" * 5_000_000).out == b"x" * 5_000_000
        assert processes(machine)
    assert becomes_true(5, lambda: not processes(machine))


def test_a_shell_line(machine: Machine) -> None:
    """A ProxyCommand is run by a shell, as ssh does: quotes, variables, a pipe and a comment keep their meaning."""
    configure(
        machine,
        f"env HIL_P=%p sh -c '{shlex.quote(sys.executable)} {machine.home}/relay.py \"$0\" $HIL_P' %h | cat # x",
    )
    connect(spec(machine))
    assert becomes_true(5, lambda: not processes(machine))


def test_a_jump_host_behind_a_proxy_command(machine: Machine, serve: MakeServer) -> None:
    """Of two jump hosts, only the first is reached by its ProxyCommand; the key of each machine is verified."""
    first, second = serve(), serve()
    (machine.home / "relay.py").write_text(RELAY)
    (machine.home / ".ssh" / "config").write_text(
        f"Host first\n HostName 127.0.0.1\n Port {first.port}\n ProxyCommand {relay(machine)}\n"
        f"Host second\n HostName 127.0.0.1\n Port {second.port}\n ProxyCommand false\n"
        f"Host orin\n HostName 127.0.0.1\n Port {machine.server.port}\n ProxyJump first,second\n"
        f"Host *\n User {USER}\n"
    )
    lines = [server.known_line() for server in (machine.server, first, second)]
    machine.known_hosts.write_text("".join(lines))
    connect(spec(machine))
    for missing in range(3):
        machine.known_hosts.write_text("".join(lines[:missing] + lines[missing + 1 :]))
        refused(spec(machine), ssh_errors.UnknownHostKey)
    assert becomes_true(5, lambda: not processes(machine))


def test_ssh_as_the_proxy_command(machine: Machine, serve: MakeServer) -> None:
    """``ssh -W`` through another machine may be the ProxyCommand; if it fails, the message has its reason."""
    gate = serve()
    known = f"-o UserKnownHostsFile={machine.known_hosts} -i {machine.identity}"
    configure(machine, f"ssh -F none {known} -p {gate.port} -W %h:%p {USER}@127.0.0.1")
    machine.known_hosts.write_text(machine.server.known_line())
    text = refused(spec(machine), ssh_errors.ProxyFailed)
    assert "Host key verification failed" in text
    machine.known_hosts.write_text(machine.server.known_line() + gate.known_line())
    connect(spec(machine))


@pytest.mark.parametrize("lax", ["", " StrictHostKeyChecking no\n", " StrictHostKeyChecking accept-new\n"])
def test_an_unknown_key_is_refused_behind_a_proxy_command(machine: Machine, lax: str) -> None:
    """No setting of the config makes an unknown key known; the message has the ssh command that shows and adds it."""
    configure(machine, relay(machine), lax + " CheckHostIP no\n NoHostAuthenticationForLocalhost yes\n")
    machine.known_hosts.write_text("")
    text = refused(spec(machine), ssh_errors.UnknownHostKey)
    assert print_of(machine.server.key) in text
    assert (
        f"UserKnownHostsFile={machine.known_hosts} -o StrictHostKeyChecking=ask -p {machine.server.port} orin" in text
    )
    assert machine.known_hosts.read_text() == ""


def test_no_file_of_known_hosts(machine: Machine) -> None:
    """With ``UserKnownHostsFile /dev/null`` the host is refused, and the advice names another file."""
    (machine.home / ".ssh" / "config").write_text(
        "Host *\n UserKnownHostsFile /dev/null\n GlobalKnownHostsFile none\n StrictHostKeyChecking no\n"
    )
    text = refused(machine.spec(), ssh_errors.UnknownHostKey)
    assert "/dev/null" not in text
    assert "set known_hosts" in text
    connect(machine.spec(known_hosts=str(machine.known_hosts)))


def test_a_proxy_command_that_fails(machine: Machine) -> None:
    """A ProxyCommand that fails gives one message with its exit status and what it wrote to stderr."""
    configure(machine, "sh -c 'echo no route to the moon >&2; exit 3'")
    text = refused(spec(machine), ssh_errors.ProxyFailed)
    assert "ended with exit status 3 (no route to the moon): cannot reach" in text
    assert "try `ssh orin`" in text


def test_a_proxy_command_that_does_not_exist(machine: Machine) -> None:
    """A command that cannot be run is a user error, without a fallback."""
    configure(machine, "no-such-program %h %p")
    with pytest.raises(UserError, match=r"exit status 127 .*: on target 'board': correct ProxyCommand"):
        open_target("board", spec(machine)).start_agent()


def test_a_shell_that_does_not_exist(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    """A SHELL that cannot be run is a user error."""
    configure(machine, "true")
    monkeypatch.setenv("SHELL", "/no/shell")
    with pytest.raises(UserError, match="the shell /no/shell cannot be run for ProxyCommand"):
        open_target("board", spec(machine)).start_agent()


def test_a_proxy_command_that_says_nothing(machine: Machine) -> None:
    """A ProxyCommand that prints nothing is ended after the time limit, and the message states it."""
    configure(machine, f"sh -c 'exec sleep 600' {machine.home}/relay.py")
    assert "no SSH greeting" in refused(spec(machine, connect_timeout="500 ms"), ssh_errors.NotSsh)
    assert becomes_true(5, lambda: not processes(machine))


def test_a_name_of_hil_toml_is_no_command(machine: Machine) -> None:
    """A host or user in hil.toml cannot run a command through the user's ProxyCommand."""
    configure(machine, relay(machine), "Host *\n ProxyCommand sh -c 'echo %h %r'\n")
    for keys in ({"host": f"$(touch {machine.home}/ran)"}, {"host": "orin", "user": f"`touch {machine.home}/ran`"}):
        with pytest.raises(UserError, match="cannot be a"):
            open_target("board", machine.spec(**keys)).start_agent()
    assert not (machine.home / "ran").exists()


def test_a_certificate_logs_in(machine: Machine, serve: MakeServer, tmp_path: Path) -> None:
    """A certificate next to its key or named by CertificateFile is used to log in; an unreadable one does no harm."""
    authority = make_key(tmp_path / "authority")
    key = make_key(machine.home / ".ssh" / "signed")
    call("ssh-keygen", "-q", "-s", str(authority), "-I", "test", "-n", USER, f"{key}.pub")
    machine.server = serve(f"TrustedUserCAKeys {authority}.pub")
    machine.known_hosts.write_text(machine.server.known_line())
    beside = machine.home / ".ssh" / "signed-cert.pub"
    connect(machine.spec(identity=str(key)))
    elsewhere = beside.rename(tmp_path / "elsewhere")
    refused(machine.spec(identity=str(key)), ssh_errors.RefusedKey)
    (machine.home / ".ssh" / "config").write_text(f"Host *\n CertificateFile {elsewhere}\n")
    connect(machine.spec(identity=str(key)))
    machine.server = serve()  # knows only the plain key
    machine.known_hosts.write_text(machine.server.known_line())
    elsewhere.write_text("nonsense")
    connect(machine.spec(identity=str(machine.identity)))


def test_algorithms_of_the_config_are_kept(machine: Machine) -> None:
    """The config's choice of algorithms is followed; a key whose algorithm it forbids is not used."""
    (machine.home / ".ssh" / "config").write_text("Host *\n Ciphers aes256-ctr\n MACs hmac-sha2-512\n")
    connect(machine.spec())
    (machine.home / ".ssh" / "config").write_text("Host *\n PubkeyAcceptedAlgorithms rsa-sha2-512\n")
    assert "does not allow ssh-ed25519" in refused(machine.spec(), ssh_errors.RefusedKey)


def test_the_agent_of_the_config(machine: Machine, tmp_path: Path) -> None:
    """The SSH agent that IdentityAgent names is used; if it does not exist, the message states this."""
    (machine.home / ".ssh" / "config").write_text(f"Host *\n IdentityAgent {tmp_path}/none\n IdentityFile /none\n")
    assert "the SSH agent cannot be used" in refused(machine.spec(), ssh_errors.RefusedKey)


@pytest.mark.parametrize(("family", "bind"), [("inet", "127.0.0.1"), ("any", "127.0.0.1")])
def test_family_and_local_address(machine: Machine, family: str, bind: str) -> None:
    """AddressFamily and BindAddress of the config are followed."""
    (machine.home / ".ssh" / "config").write_text(f"Host *\n AddressFamily {family}\n BindAddress {bind}\n")
    connect(machine.spec())
    (machine.home / ".ssh" / "config").write_text("Host *\n AddressFamily inet6\n")
    refused(machine.spec(), ssh_errors.UnknownHost)
