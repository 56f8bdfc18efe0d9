from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest

from tests.targets.ssh.test_install_agent import alive
from tests.targets.sshd import Relay, Speaker, ends_within

if TYPE_CHECKING:
    from tests.targets.conftest import Machine

HOST = """
import signal, sys
from hil.config.spec import TargetSpec
from hil.targets.target import open_target
import hil.targets.ssh
signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
signal.signal(signal.SIGINT, signal.default_int_handler)  # whatever started us in the background
print("ready", flush=True)
agent = open_target("board", TargetSpec.model_validate_json(sys.argv[1])).start_agent()
print("started", flush=True)
agent.probe()
signal.pause()
"""


def interrupted(machine: Machine, port: int, after: float, sign: signal.Signals) -> int:
    """The exit code of a host that is told to go, so many seconds after it begins to connect."""
    command = [sys.executable, "-c", HOST, json.dumps(machine.keys(port=port, connect_timeout="60 s"))]
    host = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    with host:
        assert host.stdout is not None
        assert host.stdout.readline() == "ready\n"
        time.sleep(after)
        host.send_signal(sign)
        began = time.monotonic()
        try:
            host.wait(20)
        finally:
            host.kill()
        assert time.monotonic() - began < 10
    return host.returncode


@pytest.mark.parametrize("sign", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("after", [0.0, 0.05, 0.12, 0.2, 0.3, 0.5, 1.0])
def test_whoever_is_told_to_go_leaves_nothing_behind(machine: Machine, after: float, sign: signal.Signals) -> None:
    """At any moment of connecting, sending and starting: the host ends, the agent ends, nothing is half-written."""
    assert interrupted(machine, machine.server.port, after, sign) != 0
    assert ends_within(10, lambda: not alive(str(machine.store)))
    assert ends_within(5, lambda: not list(machine.store.glob("agents/.*")))


@pytest.mark.parametrize("words", [b"", b"SSH-2.0-stuck\r\n"])
def test_a_host_that_waits_for_a_silent_server_can_be_stopped(machine: Machine, words: bytes) -> None:
    """No thread of a connection that never came about keeps the process alive."""
    with Speaker(words) as speaker:
        assert interrupted(machine, speaker.port, 0.5, signal.SIGINT) != 0


def test_a_host_on_a_dead_link_can_be_stopped(machine: Machine) -> None:
    """Nor does one that stands and carries nothing any more."""
    with Relay(machine.server.port) as relay:
        machine.known_hosts.write_text(machine.server.known_line(f"[127.0.0.1]:{relay.port}"))
        relay.stall()
        assert interrupted(machine, relay.port, 0.5, signal.SIGINT) != 0
