"""Which ``hil.toml`` a command finds without an option."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from hil.config.find_config import find
from hil.errors import ExitCode, UserError
from tests.plugins.project import Project

if TYPE_CHECKING:
    from pathlib import Path

SOMEBODY = 54321


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root: gives files to another user")
def test_another_users_config_above_is_refused(tmp_path: Path) -> None:
    """Above the working directory, a file or link that belongs to another user is ignored."""
    config, below = tmp_path / "hil.toml", tmp_path / "below"
    below.mkdir()
    config.touch()
    assert find(below) == config
    os.chown(config, SOMEBODY, 0)
    assert find(tmp_path) == config
    for start, here in ((below, None), (tmp_path, below)):
        with pytest.raises(UserError, match="belongs to another user"):
            find(start, here)
    config.rename(tmp_path / "theirs.toml")
    config.symlink_to("theirs.toml")
    with pytest.raises(UserError, match="belongs to another user"):
        find(below)
    config.unlink()
    (tmp_path / "ours.toml").touch()
    config.symlink_to("ours.toml")
    assert find(below) == config
    os.chown(config, SOMEBODY, 0, follow_symlinks=False)
    with pytest.raises(UserError, match="belongs to another user"):
        find(below)


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root: gives files to another user")
def test_pytest_and_hil_refuse_it(tmp_path: Path) -> None:
    """``pytest`` and ``hil`` name the ignored file and the option to use it; with the option, it is used."""
    project = Project.make(tmp_path)
    project.add_own_check()
    (tmp_path / "below").mkdir()
    (tmp_path / "test_own.py").rename(tmp_path / "below" / "test_own.py")
    os.chown(project.toml, SOMEBODY, 0)
    below = Project(tmp_path / "below", project.env)
    ran = below.run("test_own.py", "--target=cpu")
    assert (ran.code, "belongs to another user" in ran.out) == (int(ExitCode.USER_ERROR), True), ran.out
    assert f"--hil-config={project.toml}" in ran.out
    ran = below.run("test_own.py", "--target=cpu", f"--hil-config={project.toml}")
    assert ran.code == 0, ran.out
    ran = below.hil("targets")
    assert (ran.code, "belongs to another user" in ran.out) == (int(ExitCode.USER_ERROR), True), ran.out
    assert below.hil("targets", "--config", str(project.toml)).code == 0
