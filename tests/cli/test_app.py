"""The command line itself: help, version, one-line errors, and the documented exit codes."""

from __future__ import annotations

import subprocess
import sys

import pytest

from hil import __version__
from hil.cli import main
from hil.cli.app import COMMANDS
from hil.errors import ExitCode


def test_help_lists_all_commands(capsys: pytest.CaptureFixture[str]) -> None:
    """``hil`` without arguments prints the text of ``hil --help``."""
    assert main([]) == 0
    shown = capsys.readouterr().out
    assert main(["--help"]) == 0
    assert capsys.readouterr().out == shown
    assert all(command in shown for command in COMMANDS)


@pytest.mark.parametrize("command", COMMANDS)
def test_each_command_shows_examples(capsys: pytest.CaptureFixture[str], command: str) -> None:
    """The help of every command shows an example call."""
    assert main([command, "--help"]) == 0
    out = capsys.readouterr().out
    assert "Examples" in out
    assert f"hil {command}" in out


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    """``hil --version`` prints one line for bug reports."""
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"pytest-hil {__version__}\n"


@pytest.mark.parametrize("arguments", [["foo"], ["schema", "--foo"], ["init"], ["--foo"]])
def test_a_wrong_call_is_the_users_mistake(capsys: pytest.CaptureFixture[str], arguments: list[str]) -> None:
    """A usage error exits with 4 (2 is pytest's) and prints one line that names the help."""
    assert main(arguments) == ExitCode.USER_ERROR
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("error: ")
    assert captured.err.count("\n") == 1
    assert "--help" in captured.err


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["verify", "report", "--commit="], "--commit"),
        (["verify", "report", "--commit", " "], "--commit"),
        (["build", "digits", "--target", ""], "--target"),
        (["gate", ""], "an argument"),
        (["history", "list", "--target="], "--target"),
        (["doctor", "cpu", "--config="], "--config"),
    ],
)
def test_an_empty_value_is_no_default(capsys: pytest.CaptureFixture[str], arguments: list[str], named: str) -> None:
    """An empty value, as from an unset variable, is refused for every option and argument."""
    assert main(arguments) == ExitCode.USER_ERROR
    captured = capsys.readouterr()
    assert captured.err.startswith(f"error: {named} is empty: is a shell variable not set")
    assert captured.out == ""


def test_importing_the_entry_point_loads_no_heavy_library() -> None:
    """Importing ``hil.cli`` loads none of typer, rich, numpy, pydantic and onnx."""
    code = "import sys, hil.cli; sys.exit(bool({'typer', 'rich', 'numpy', 'pydantic', 'onnx'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_closed_pipe_ends_quietly() -> None:
    """``hil schema | head -1`` prints no traceback and does not exit with 0."""
    with subprocess.Popen(
        [sys.executable, "-c", "from hil.cli import main; raise SystemExit(main(['schema']))"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == ExitCode.FAILED
