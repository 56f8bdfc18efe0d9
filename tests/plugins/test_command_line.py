"""No option is ignored without a message, and no mistake on the command line leaves a passed report."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from hil.errors import ExitCode
from hil.plugins import plugin
from hil.plugins.command_line import OPTIONS, WITHOUT_VALUE, misread, parsed, spelling
from hil.plugins.report_folder import report_folder
from hil.report.write_report import finish
from tests.plugins.project import SUITES, Project
from tests.plugins.sequence import run_each
from tests.report import sample

if TYPE_CHECKING:
    from pathlib import Path

USER = int(ExitCode.USER_ERROR)
WITH_VALUE = [spelling(name) for name in OPTIONS if name != WITHOUT_VALUE]
DEFINES_TARGET = "def pytest_addoption(parser): parser.addoption('--target', {})\n"


def test_the_options_are_those_of_pytest() -> None:
    """The options that activate the plugin are those that it adds to pytest."""
    parser = pytest.Parser(_ispytest=True)
    plugin.pytest_addoption(parser, pytest.PytestPluginManager())
    added = [name for option in parser.getgroup("hil").options for name in option.names()]
    assert sorted(added) == sorted(map(spelling, OPTIONS))


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["-k", "parity", "tests", "-p", "no:xdist", "-n", "2"], False),
        (["--targets=x", "--hil"], False),
        (["-k", "a", "--hil-gate"], True),
        (["--hil-gate=yes"], True),
        (["--target", "cpu"], True),
        (["--hil-sign-key=k"], True),
        (["--pyargs", "hil.suites.test_parity::test_data"], True),
    ],
)
def test_hil_is_named(tmp_path: Path, arguments: list[str], named: bool) -> None:
    """Options of hil, a target and the stock suites name hil; other arguments do not, and ``@FILE`` is read."""
    assert parsed(arguments).names_hil is named
    (tmp_path / "args").write_text("\n".join(arguments))
    assert parsed([f"@{tmp_path / 'args'}"]).names_hil is named


@pytest.mark.parametrize("option", ["--target", *WITH_VALUE])
def test_a_value_that_pytest_takes_for_a_path(tmp_path: Path, option: str) -> None:
    """An option's value after a space that is an existing path is detected: pytest would collect it as tests."""
    (tmp_path / "here").mkdir()
    for value in ("here", str(tmp_path), "here::x"):
        assert misread(parsed(["-q", option, value]), tmp_path) == (option, value)
    for fine in ([f"{option}=here"], [option, "nowhere"], [option, "-q", "here"], ["--", option, "here"], [option]):
        assert misread(parsed(fine), tmp_path) is None
    assert misread(parsed([option, "x" * 5000]), tmp_path) is None


@pytest.mark.parametrize(
    ("config", "folder"),
    [
        ("", "report"),
        ('[project]\nreport = "out"', "out"),
        ('[project]\nreport = "out"\n[models', "out"),
        ("# report = 'no'\nproject = { report = 'out' }\nx = ", "out"),
        ("[project]\nreport = 3", "report"),
        ("project = 3", "report"),
    ],
)
def test_the_folder_that_a_broken_config_names(tmp_path: Path, config: str, folder: str) -> None:
    """The report's folder is known even if ``hil.toml`` has mistakes, because an earlier report is in it."""
    (tmp_path / "hil.toml").write_text(config)
    (tmp_path / "below").mkdir()
    for options in ({}, {"hil_config": "../hil.toml"}):
        assert report_folder(options, tmp_path / "below", tmp_path).resolve() == tmp_path / folder
    assert report_folder({"hil_report": "here"}, tmp_path, tmp_path) == tmp_path / "here"
    assert report_folder({"hil_config": "nowhere.toml"}, tmp_path, tmp_path) == tmp_path / "report"


def test_no_green_report_outlives_a_run_that_did_not_begin(project: Project) -> None:
    """After a mistake in conftest, ini file or command line, exit code 4 and an incomplete report replace a pass."""
    project.add_own_check()
    project.write_passed_report()
    mistakes = ["--no-such-option", "-n x", "--hil-wait=soon", "--hil-gate=", "--hil-report"]
    mistakes += [f"{option}=" for option in ("--target", *WITH_VALUE)]
    ini = "[pytest]\naddopts = "
    runs = {each: {"pytest.ini": f"{ini}{each}\n"} for each in mistakes}
    runs["required_plugins"] = {"pytest.ini": "[pytest]\nrequired_plugins = no-such-plugin\n"}
    runs["conftest"] = {"conftest.py": "def ("}
    runs["misread"] = {"pytest.ini": f"{ini}--hil-baseline report\n"}
    codes, reports, out = run_each(project, runs, "test_own.py", "--hil-model=toy")
    assert codes == dict.fromkeys(runs, USER), out
    assert reports == dict.fromkeys(runs, ("incomplete", None)), out
    assert out.count("the value is empty: is a shell variable not set") == len(WITH_VALUE) + 1, out
    assert "write --hil-baseline=report" in out
    assert "Traceback" not in out


def test_the_folder_that_only_the_config_names_is_used(project: Project) -> None:
    """If only ``hil.toml`` names the folder, the earlier report in it is invalidated and its signature deleted."""
    project.edit("[project]\n", '[project]\nreport = "out"\n')
    finish(project.root / "out", sample.passed())
    for name in ("report.sigstore.json", "junit.xml"):
        (project.root / "out" / name).write_text("yesterday's")
    ran = project.run(*SUITES, "--no-such-option")
    assert ran.code == USER, ran.out
    assert '"incomplete"' in (project.root / "out" / "report.json").read_text()
    assert {path.name for path in (project.root / "out").iterdir()} == {"report.json", ".lock"}


def test_a_target_of_somebody_elses(project: Project) -> None:
    """If a conftest defines ``--target``, a run with checks is a user error unless ``--hil-target`` names a target."""
    project.add_own_check()
    project.write_passed_report()
    project.add_plain_test()
    runs = {
        (arguments, how): {
            "conftest.py": DEFINES_TARGET.format(how),
            "pytest.ini": f"[pytest]\naddopts = {arguments}\n",
        }
        for arguments in ("test_own.py", "test_own.py --hil-target=cpu", "test_plain.py")
        for how in ("dest='theirs'", "choices=['cpu']")
    }
    codes, reports, out = run_each(project, {" ".join(key): files for key, files in runs.items()}, "--target=cpu")
    for (arguments, how), code, (status, decision) in zip(runs, codes.values(), reports.values(), strict=True):
        expected = {"test_own.py": (USER, "complete", "FAILED"), "test_plain.py": (0, "incomplete", None)}
        assert (code, status, decision) == expected.get(arguments, (0, "complete", "PASSED")), (arguments, how, out)
    assert "use --hil-target=NAME" in out, out


def test_a_target_of_ours_beside_a_required_option() -> None:
    """``--target`` counts as taken only if another plugin defines it, whatever other options a plugin requires."""
    parser = pytest.Parser(_ispytest=True)
    parser.addoption("--needed", required=True)
    assert not plugin.is_taken(parser, "--target")
    parser.addoption("--target", choices=["esp32"])
    assert plugin.is_taken(parser, "--target")


@pytest.mark.parametrize("wait", ["-1", "nan", "inf", "soon"])
def test_a_wait_is_a_number_of_seconds(wait: str) -> None:
    """``--hil-wait`` accepts only a finite, non-negative number."""
    parser = pytest.Parser(_ispytest=True)
    plugin.pytest_addoption(parser, pytest.PytestPluginManager())
    with pytest.raises(pytest.UsageError, match="is not a number of seconds"):
        parser.parse([f"--hil-wait={wait}"])


@pytest.mark.parametrize("over", ["10", "-1 min", "0 s", "soon", "10 MiB", "inf s"])
def test_a_time_to_spread_runs_over_has_a_unit(over: str) -> None:
    """``--hil-over`` accepts only a duration above 0 with its unit."""
    parser = pytest.Parser(_ispytest=True)
    plugin.pytest_addoption(parser, pytest.PytestPluginManager())
    with pytest.raises(pytest.UsageError, match="--hil-over"):
        parser.parse([f"--hil-over={over}"])
    assert parser.parse(["--hil-over=10 min"]).hil_over == 600
