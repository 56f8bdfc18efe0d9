from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest

from tests.targets.ssh.test_install_agent import alive
from tests.targets.sshd import Relay, Speaker, becomes_true

if TYPE_CHECKING:
    from tests.targets.conftest import Machine

HOST = """
import signal, sys
from hil.config.spec import TargetSpec
from hil.targets.target import open_target
import hil.targets.ssh
signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
signal.signal(signal.SIGINT, signal.default_int_handler)  # it is ignored in background processes
print("ready", flush=True)
agent = open_target("board", TargetSpec.model_validate_json(sys.argv[1])).start_agent()
print("started", flush=True)
agent.probe()
signal.pause()
"""


def interrupted(machine: Machine, port: int, after: float, number: signal.Signals) -> int:
    """Return the exit code of a host process that gets a signal ``after`` seconds after it began to connect."""
    command = [sys.executable, "-c", HOST, json.dumps(machine.keys(port=port, connect_timeout="60 s"))]
    host = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    with host:
        assert host.stdout is not None
        assert host.stdout.readline() == "ready\n"
        time.sleep(after)
        host.send_signal(number)
        began = time.monotonic()
        try:
            host.wait(20)
        finally:
            host.kill()
        assert time.monotonic() - began < 10
    return host.returncode


@pytest.mark.parametrize(
    ("after", "number"), [(0.0, signal.SIGTERM), (0.12, signal.SIGINT), (0.3, signal.SIGTERM), (0.6, signal.SIGINT)]
)
def test_an_interrupted_host_leaves_nothing_behind(machine: Machine, after: float, number: signal.Signals) -> None:
    """Interrupted while connecting, uploading or starting, host and agent end, and no partial file is left."""
    assert interrupted(machine, machine.server.port, after, number) != 0
    assert becomes_true(10, lambda: not alive(str(machine.store)))
    assert becomes_true(5, lambda: not list(machine.store.glob("agents/.*")))


@pytest.mark.parametrize("words", [b"", b"SSH-2.0-stuck\r\n"])
def test_a_host_that_waits_for_a_silent_server_can_be_stopped(machine: Machine, words: bytes) -> None:
    """No thread of a connection that was never established keeps the process alive."""
    with Speaker(words) as speaker:
        assert interrupted(machine, speaker.port, 0.5, signal.SIGINT) != 0


def test_a_host_on_a_dead_link_can_be_stopped(machine: Machine) -> None:
    """No thread of a stalled connection keeps the process alive."""
    with Relay(machine.server.port) as relay:
        machine.known_hosts.write_text(machine.server.known_line(f"[127.0.0.1]:{relay.port}"))
        relay.stall()
        assert interrupted(machine, relay.port, 0.5, signal.SIGINT) != 0
