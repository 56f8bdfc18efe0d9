from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import subprocess
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from hil.errors import LabError, TargetUnreachable, UserError
from hil.targets.bundle import agent_bytes
from hil.targets.ssh import remote_process, scripts, ssh_errors, start_failures, upload_channel
from hil.targets.target import open_target
from hil.targets.words import MOST_KEPT
from tests.targets.sshd import Relay, becomes_true

if TYPE_CHECKING:
    from tests.targets.conftest import Machine, MakeServer


SHELLS = ("bash", "dash", "zsh", "fish", "tcsh")
ODD = [
    *("a b", "it's", '"$HOME"', "*", "`id`", "a\\b", "a\\\\b", "\\", "a\\'b", "\\n", "\\041"),
    *("!x", "a!", "!!", "\\!", "'!'", "a\nb", "\n", "two\n\n", "\\\n", "tab\there", "\r", "\x1b[2J"),
    *("é", "日本", "😀!", "-n", "--", "", "%s%%", "=ls", "~", "^a^b", "$!", "#", "{a,b}", "[x]"),
    *("a;b", "&", "|", "<(x)", "x" * 9000),
]
"""Arguments that some shell would change, or that need different quoting in different shells."""


def archive(machine: Machine) -> Path:
    """Return the path of the agent's archive on the machine."""
    return machine.store / "agents" / f"agent-{hashlib.sha256(agent_bytes()).hexdigest()}.pyz"


def executable(path: Path, text: str) -> Path:
    """Write an executable script; return its path."""
    path.write_text(text)
    path.chmod(0o755)
    return path


def behind(machine: Machine, serve: MakeServer, wrapper: str) -> None:
    """Restart the server so that ``wrapper`` runs every command instead of the account's shell."""
    path = executable(machine.home / "wrapper", f"#!/bin/sh\n{wrapper}\n")
    machine.server = serve(f"ForceCommand {path}")
    machine.known_hosts.write_text(machine.server.known_line())


def alive(word: str) -> list[str]:
    """Return the ids of this machine's processes with ``word`` on their command line."""
    pids = []
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):  # the process has just ended
            if word.encode() in (folder / "cmdline").read_bytes().split(b"\0"):
                pids.append(folder.name)
    return pids


def test_the_archive_is_sent_once(machine: Machine) -> None:
    """The archive is named by its digest and private to its owner; another session uses it unchanged."""
    for _ in range(2):
        open_target("board", machine.spec()).start_agent().close()
        assert archive(machine).read_bytes() == agent_bytes()
        os.utime(archive(machine), (1, 1))
    assert archive(machine).stat().st_mtime == 1
    assert archive(machine).stat().st_mode & 0o077 == 0
    assert machine.store.stat().st_mode & 0o077 == 0
    assert list(archive(machine).parent.iterdir()) == [archive(machine)]


@pytest.mark.parametrize("damage", ["short", "altered"])
def test_a_damaged_archive_is_replaced(machine: Machine, damage: str) -> None:
    """A file with the archive's name but other content is replaced and never run."""
    whole = agent_bytes()
    archive(machine).parent.mkdir(parents=True)
    archive(machine).write_bytes(whole[:-1] if damage == "short" else whole.replace(b"hil", b"hal"))
    open_target("board", machine.spec()).start_agent().close()
    assert archive(machine).read_bytes() == agent_bytes()


def test_a_stale_upload_is_deleted(machine: Machine) -> None:
    """The partial file of an upload interrupted long ago is deleted, that of a recent upload is not."""
    folder = archive(machine).parent
    folder.mkdir(parents=True)
    old, new = folder / ".agent-abc.1", folder / ".agent-abc.2"
    for path in (old, new):
        path.write_bytes(b"half")
    os.utime(old, (1, 1))
    open_target("board", machine.spec()).start_agent().close()
    assert set(folder.iterdir()) == {new, archive(machine)}


def test_a_cut_upload_leaves_nothing(machine: Machine) -> None:
    """If the link breaks during the upload, there is one message and no partial file, and the next session works."""
    with Relay(machine.server.port, break_after=len(agent_bytes()) // 2) as relay:
        machine.known_hosts.write_text(machine.server.known_line(f"[127.0.0.1]:{relay.port}"))
        with pytest.raises(ssh_errors.ConnectionLost, match="could not be sent: on target 'board'"):
            open_target("board", machine.spec(port=relay.port)).start_agent()
        assert becomes_true(5, lambda: not list(machine.store.glob("agents/.*")))
        assert not archive(machine).exists()
        relay.left = None
        open_target("board", machine.spec(port=relay.port)).start_agent().close()


def test_a_store_that_cannot_be_written(machine: Machine) -> None:
    """A store that cannot be written is a lab error with the system's message."""
    machine.store.parent.mkdir(parents=True)
    machine.store.write_text("a file")
    with pytest.raises(
        LabError, match=r"store cannot be written: on target 'board': .*Not a directory: set store"
    ) as caught:
        open_target("board", machine.spec()).start_agent()
    assert not isinstance(caught.value, TargetUnreachable)


@pytest.mark.skipif(os.getuid() != 0, reason="only root may mount the small disk")
def test_a_full_disk(machine: Machine, serve: MakeServer) -> None:
    """A full disk of the store is a lab error that states it, and no partial file is left."""
    machine.store.mkdir(parents=True)
    mounted = f'mount -t tmpfs -o size=64k none {machine.store} && sh -c "$SSH_ORIGINAL_COMMAND"'
    script = f"{mounted}; code=$?; ls -A {machine.store}/agents >{machine.home}/left; exit $code"
    behind(machine, serve, f"exec unshare -m sh -c '{script}'")
    with pytest.raises(LabError, match=r"the disk of the store is full: on target 'board'.*No space left"):
        open_target("board", machine.spec()).start_agent()
    assert (machine.home / "left").read_text() == ""


def test_no_interpreter(machine: Machine, tmp_path: Path) -> None:
    """An interpreter that does not exist makes the target unreachable, whether given by path or by name."""
    for python, advice in ((str(tmp_path / "none"), "correct python"), ("python3.99", "correct python")):
        with pytest.raises(TargetUnreachable, match=f"{python} does not exist: on target 'board': {advice}"):
            open_target("board", machine.spec(python=python)).start_agent()


def test_the_usual_interpreter_is_missing(machine: Machine, serve: MakeServer) -> None:
    """Without python3 the message has the command that installs it."""
    programs = "sh cat cut sha256sum mkdir rm mv find uname head od tr"
    folder = machine.home / "bin"
    folder.mkdir()
    behind(
        machine,
        serve,
        f'for one in {programs}; do ln -sf "$(command -v $one)" {folder}; done; '
        f'PATH={folder}; export PATH; exec sh -c "$SSH_ORIGINAL_COMMAND"',
    )
    with pytest.raises(TargetUnreachable, match=r"python3 does not exist: .*sudo apt install python3"):
        open_target("board", machine.spec(python=None)).start_agent()


def test_an_interpreter_that_may_not_be_executed(machine: Machine, tmp_path: Path) -> None:
    """An interpreter without execute permission is reported with the chmod command that fixes it."""
    (tmp_path / "python").write_bytes(b"\x7fELF")
    with pytest.raises(TargetUnreachable, match=f"cannot be executed: .*chmod .x {tmp_path}/python"):
        open_target("board", machine.spec(python=str(tmp_path / "python"))).start_agent()


def test_an_interpreter_of_another_architecture(machine: Machine, tmp_path: Path) -> None:
    """An interpreter for another architecture is refused with both architectures."""
    other = 62 if os.uname().machine == "aarch64" else 183
    python = tmp_path / "python"
    python.write_bytes(b"\x7fELF\x02\x01\x01" + bytes(9) + (2).to_bytes(2, "little") + other.to_bytes(2, "little"))
    python.chmod(0o755)
    with pytest.raises(TargetUnreachable, match=f"built for .*, but the machine is {os.uname().machine}: on target"):
        open_target("board", machine.spec(python=str(python))).start_agent()


def test_an_interpreter_that_is_too_old(machine: Machine, tmp_path: Path) -> None:
    """A Python older than 3.6 is reported with its version."""
    old = "#!/bin/sh\n[ \"$1\" = -c ] && echo 2.7 || { echo 'SyntaxError: invalid syntax' >&2; exit 1; }\n"
    python = executable(tmp_path / "python2.7", old)
    with pytest.raises(TargetUnreachable, match=r"is Python 2.7, the agent needs 3.6 or later: on target 'board'"):
        open_target("board", machine.spec(python=str(python))).start_agent()


def test_a_program_that_is_not_python(machine: Machine, tmp_path: Path) -> None:
    """A program that is not a Python interpreter is reported as such."""
    python = executable(tmp_path / "python", "#!/bin/sh\nexit 3\n")
    with pytest.raises(TargetUnreachable, match="is not a working Python interpreter: on target 'board'"):
        open_target("board", machine.spec(python=str(python))).start_agent()


def installed(shell: str) -> str:
    """Return ``shell``; skip the test, by name, if this machine lacks it."""
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed: apt-get install {shell}")
    return shell


@pytest.mark.parametrize(
    ("before", "shell"),
    [
        ("", "dash"),
        ("", "zsh"),
        ('echo "Welcome to Ubuntu 18.04"; echo noise >&2;', "bash"),
        ("head -c 30000 /dev/urandom | base64;", "tcsh"),
        ("umask 000; cd /; unset XDG_CACHE_HOME LANG; export LC_ALL=C;", "fish"),
    ],
)
def test_any_login_shell(machine: Machine, serve: MakeServer, before: str, shell: str) -> None:
    """Upload, start and commands work with any login shell, whatever it prints first."""
    behind(machine, serve, f'{before} exec {installed(shell)} -c "$SSH_ORIGINAL_COMMAND"')
    with open_target("board", machine.spec()) as target:
        with target.start_agent() as agent:
            agent.hold("test", "me")
            done = target.run(["printf", "%s|", *ODD])
        assert (done.code, done.out.decode()) == (0, "".join(f"{one}|" for one in ODD))
        assert b"noise" not in done.err


@pytest.mark.parametrize("options", ["-lc", "-euc"])
def test_a_shell_with_options(machine: Machine, serve: MakeServer, options: str) -> None:
    """Commands work in a login shell that reads its start files, and in one that exits on the first error."""
    behind(machine, serve, f'exec bash {options} "$SSH_ORIGINAL_COMMAND"')
    with open_target("board", machine.spec()) as target:
        target.start_agent().close()
        assert target.run(["printf", "%s", "!\\\n"]).out == b"!\\\n"


@pytest.mark.parametrize("shell", SHELLS)
@settings(max_examples=8)
@given(arguments=st.lists(st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=9), max_size=9))
@example(arguments=ODD)
def test_arguments_pass_every_shell(shell: str, arguments: list[str]) -> None:
    """The program gets any argument byte for byte."""
    command = remote_process.shell('printf "%s|" "$@"', *arguments)
    done = subprocess.run([installed(shell), "-c", command], capture_output=True, check=True)
    assert done.stdout == ("".join(f"{one}|" for one in arguments) or "|").encode()


def test_a_shell_that_runs_nothing(machine: Machine, serve: MakeServer) -> None:
    """An account whose shell runs no commands is reported as such."""
    behind(machine, serve, "echo This account is currently not available.; exit 1")
    with pytest.raises(TargetUnreachable, match=r"does not run commands: on target 'board': give the account a shell"):
        open_target("board", machine.spec()).start_agent()


def test_scripts_have_only_plain_characters() -> None:
    """No script has a character that some login shell would change within single quotes."""
    for script in (
        scripts.START,
        scripts.UPLOAD,
        scripts.INSPECT,
        remote_process.RUN,
        remote_process.DECODE,
        upload_channel.SCRIPT,
    ):
        assert set(script.encode()) <= remote_process.PLAIN


def test_the_usual_store(machine: Machine, serve: MakeServer, tmp_path: Path) -> None:
    """The default store is in the cache folder of the remote account; ``~`` is that account's home."""
    machine.server = serve(f"SetEnv XDG_CACHE_HOME={tmp_path}/cache HOME={tmp_path}/away")
    machine.known_hosts.write_text(machine.server.known_line())
    (tmp_path / "away").mkdir()
    with open_target("board", machine.spec(store=None)).start_agent() as agent:
        assert agent.hello["store"] == f"{tmp_path}/cache/pytest-hil/store"
    behind(machine, serve, f'HOME={tmp_path}/away; export HOME; exec sh -c "$SSH_ORIGINAL_COMMAND"')
    with open_target("board", machine.spec(store="~/my store")).start_agent() as agent:
        assert agent.hello["store"] == f"{tmp_path}/away/my store"


@pytest.mark.parametrize("keys", [{"store": "store"}, {"store": "a\nb"}, {"python": "-c"}, {"store": "~root/x"}])
def test_malformed_paths(machine: Machine, keys: dict[str, str]) -> None:
    """A malformed path is a user error, reported before anything is sent."""
    with pytest.raises(UserError, match="on target 'board': write it as"):
        open_target("board", machine.spec(**keys)).start_agent()
    assert not machine.store.exists()


def test_a_command_ends_with_its_deadline(machine: Machine) -> None:
    """A command beyond its deadline is killed with its children, and the connection stays usable."""
    with open_target("board", machine.spec()) as target:
        with pytest.raises(LabError, match=r"sh did not end within 0.5 s and was killed: on target 'board'"):
            target.run(["sh", "-c", "sleep 98765 & sleep 98765"], timeout=0.5)
        assert becomes_true(5, lambda: not alive("98765"))
        assert target.run(["true"]).code == 0


def test_the_result_of_a_command(machine: Machine) -> None:
    """A command reads its input and returns its exit code and both outputs whole; a missing program has code 127."""
    with open_target("board", machine.spec()) as target:
        stdin = os.urandom(1 << 20)
        assert target.run(["cat"], stdin).out == stdin
        assert target.run(["true"], stdin).code == 0
        done = target.run(["sh", "-c", "echo out; echo err >&2; exit 7"])
        assert (done.code, done.out, done.err) == (7, b"out\n", b"err\n")
        assert target.run(["no-such-program"]).code == 127
        assert target.run(["sh", "-c", "kill -9 $$"]).code == -1
        with pytest.raises(UserError, match="null byte"):
            target.run(["echo", "a\0b"])


def test_an_agent_that_hangs_is_killed(machine: Machine) -> None:
    """An agent that does not end by itself is killed remotely, and the next one starts on a new connection."""
    target = open_target("board", machine.spec())
    agent = target.start_agent()
    pid = int(agent.hello["pid"])
    os.kill(pid, 19)
    agent.close()
    assert becomes_true(5, lambda: not Path(f"/proc/{pid}").exists())
    target.start_agent().close()


def test_two_agents_on_one_connection(machine: Machine) -> None:
    """The connection stays open until the last of its agents has ended."""
    target = open_target("board", machine.spec())
    first, second = target.start_agent(), target.start_agent()
    first.close()
    second.hold("test", "me")
    second.close()
    assert becomes_true(5, lambda: not [thread for thread in threading.enumerate() if "Transport" in repr(thread)])


def test_a_dead_link_is_noticed(machine: Machine) -> None:
    """On a dead link, a request raises ``LabError`` after ``silence`` seconds, and closing raises nothing."""
    with Relay(machine.server.port) as relay:
        machine.known_hosts.write_text(machine.server.known_line(f"[127.0.0.1]:{relay.port}"))
        agent = open_target("board", machine.spec(port=relay.port, silence="5 s")).start_agent()
        relay.stall()
        with pytest.raises(LabError, match=r"no data was transferred for 5 s.*on target 'board'"):
            agent.probe()
        began = time.monotonic()
        agent.close()
        assert time.monotonic() - began < 5


def test_errors_without_end_are_bounded(machine: Machine) -> None:
    """Only the end of a command's stderr is kept, with or without newlines, and its deadline still applies."""
    with open_target("board", machine.spec()) as target:
        done = target.run(
            ["sh", "-c", "head -c 5000000 /dev/zero >&2; yes | head -c 5000000 >&2; echo end >&2; exit 3"]
        )
        assert done.code == 3
        assert len(done.err) == MOST_KEPT
        assert done.err.endswith(b"y\ny\nend\n")
        for flood in ("yes >&2", "cat /dev/zero >&2"):
            began = time.monotonic()
            with pytest.raises(LabError, match=r"did not end within 0\.3 s"):
                target.run(["sh", "-c", flood], timeout=0.3)
            assert time.monotonic() - began < 8


@pytest.mark.parametrize(
    ("version", "message"),
    [
        ("3.5", "is Python 3.5, the agent needs"),
        ("3.10", None),
        ("9" * 5000 + ".1", "is not a working Python interpreter"),
        ("3.\N{SUPERSCRIPT TWO}", "is not a working Python interpreter"),
        ("\x1b[2J", "is not a working Python interpreter"),
    ],
)
def test_facts_of_an_interpreter(version: str, message: str | None) -> None:
    """Whatever the board prints about its interpreter, the message is right and free of control characters."""
    facts = start_failures.parse_facts(
        f"hil-inspect state runs\nhil-inspect path \x1b]0;x\x07/p\nhil-inspect version {version}\n".encode()
    )
    text = start_failures.failure_message("python3", facts, "board")
    assert text is None if message is None else message in str(text)
    assert str(text).isprintable()
