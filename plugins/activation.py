"""Whether a pytest run is hil's: a hil option, the stock suites, or a test that asks for a hil fixture."""

from __future__ import annotations

import secrets
from pathlib import Path

import pytest

from hil.plugins.command_line import OPTIONS, is_suite, read

RUN_ID: pytest.StashKey[str] = pytest.StashKey()
AWOKE: pytest.StashKey[bool] = pytest.StashKey()
DECIDED: pytest.StashKey[int] = pytest.StashKey()
TARGET_TAKEN: pytest.StashKey[bool] = pytest.StashKey()
"""Whether another plugin or a conftest defines ``--target``."""
LISTINGS = ("help", "version", "markers", "showfixtures", "show_fixtures_per_test", "collectonly", "cacheshow")
"""Options with which pytest shows something and runs nothing."""
INSTALLED = {"site-packages", "dist-packages"}


def add_suites(config: pytest.Config) -> None:
    """Where a target is named and no test is, the stock suites run beside the project's own tests."""
    if not config.getoption("hil_target", None) or config.args_source is config.ArgsSource.ARGS:
        return
    suites = (Path(__file__).parent.parent / "suites").resolve()
    given = [(config.invocation_params.dir / arg.split("::")[0]).resolve() for arg in config.args]
    # Not twice where pytest finds them by itself, as in this repository; it does not look into environments.
    around = [place for place in given if suites.is_relative_to(place)]
    found = any(INSTALLED.isdisjoint(suites.relative_to(place).parts) for place in around)
    if not found and not any(_copied(suites, place) for place in given):
        config.args.append(str(suites))


def _copied(suites: Path, place: Path) -> bool:
    """Whether ``place`` holds the same suites: a clone of this repository, beside the wheel that was made of it."""
    one, other = suites / "test_contract.py", place / "test_contract.py"
    return other.is_file() and other.read_bytes() == one.read_bytes()


def target_is_lost(config: pytest.Config) -> bool:
    """Whether ``--target`` was given, another plugin or conftest took it, and ``--hil-target`` was not given."""
    options = read(config).options
    return "target" in options and "hil_target" not in options and config.stash.get(TARGET_TAKEN, False)


def is_worker(config: pytest.Config) -> bool:
    """Whether this process is an xdist worker: it judges, its controller keeps the accounts."""
    return hasattr(config, "workerinput")


def asked_for(config: pytest.Config) -> bool:
    """Whether the command line itself asks for hil."""
    if any(config.getoption(name, None) is not None for name in OPTIONS):
        return True
    return any(map(is_suite, (*config.invocation_params.args, *config.args)))


def listing(config: pytest.Config) -> str | None:
    """The option with which pytest was asked to show something and to run nothing, as pytest names its value."""
    return next((name for name in LISTINGS if getattr(config.option, name, None)), None)


def lists_only(config: pytest.Config) -> bool:
    """Whether nothing runs and no report is written: ``--collect-only``, ``--fixtures`` and the like."""
    return listing(config) is not None


def run_id(config: pytest.Config) -> str:
    """The run's id: made by the controller, handed to its workers."""
    if RUN_ID not in config.stash:
        config.stash[RUN_ID] = getattr(config, "workerinput", {}).get("hil_run_id") or secrets.token_hex(8)
    return config.stash[RUN_ID]
