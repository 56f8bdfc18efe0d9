from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING

import pytest

from hil.plugins.commit import Commit, commit_of

if TYPE_CHECKING:
    from pathlib import Path


def git(folder: Path, *arguments: str) -> str:
    """Run git with a fixed author."""
    command = ["git", "-C", str(folder), "-c", "user.name=ann", "-c", "user.email=ann@example.org", *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """Return a repository with two committed files."""
    git(tmp_path, "init", "-q")
    (tmp_path / "hil.toml").write_text("a = 1\n")
    (tmp_path / "glue.py").write_text("")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-qm", "first")
    return tmp_path


def test_what_is_committed_is_clean(repository: Path) -> None:
    """If every used file is as it was committed, the tree is clean; unused files do not count."""
    (repository / "notes.txt").write_text("untracked and not used")
    commit = commit_of(repository, [repository / "hil.toml", repository / "glue.py"])
    assert commit == Commit(git(repository, "rev-parse", "HEAD"), dirty=False)


@pytest.mark.parametrize(
    "how", ["modified", "staged", "untracked", "ignored", "assumed", "skipped", "linked", "renamed"]
)
def test_a_used_file_that_differs_from_the_commit_is_a_change(repository: Path, how: str) -> None:
    """A used file that differs from the commit is a change, even if git status hides it (ignored, flagged, linked)."""
    used = repository / "conftest.py"
    if how in {"modified", "assumed", "skipped"}:
        used = repository / "hil.toml"
        flag = {"assumed": "--assume-unchanged", "skipped": "--skip-worktree"}.get(how)
        if flag:
            git(repository, "update-index", flag, "hil.toml")
        used.write_text("a = 2\n")
    elif how == "linked":
        outside = repository.parent / "outside.py"
        outside.write_text("")
        used.symlink_to(outside)
        git(repository, "add", ".")
        git(repository, "commit", "-qm", "a link")
    elif how == "renamed":
        git(repository, "mv", "glue.py", "conftest.py")
    else:
        used.write_text("")
        if how == "staged":
            git(repository, "add", ".")
        if how == "ignored":
            (repository / ".gitignore").write_text("conftest.py\n.gitignore\n")
    commit = commit_of(repository, [used])
    assert commit.dirty is True
    assert [name.rpartition("/")[2] for name in commit.changed] == ["outside.py" if how == "linked" else used.name]


def test_unknown_is_not_clean(tmp_path: Path, repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a repository, a commit or git, the commit is unknown and the tree is not clean."""
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    empty = tmp_path / "empty"
    empty.mkdir()
    git(empty, "init", "-q")
    assert commit_of(empty) == Commit()
    assert commit_of(tmp_path.parent) == Commit()
    monkeypatch.setenv("PATH", "")
    assert commit_of(repository) == Commit()


def test_another_repository_does_not_answer(
    repository: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Environment variables set by a git hook do not redirect the query to the hook's repository."""
    other = tmp_path_factory.mktemp("other")
    git(other, "init", "-q")
    git(other, "commit", "-qm", "other", "--allow-empty")
    monkeypatch.setenv("GIT_DIR", os.fspath(other / ".git"))
    commit = commit_of(repository)
    monkeypatch.delenv("GIT_DIR")
    assert commit.sha == git(repository, "rev-parse", "HEAD")


def test_observations_of_a_commit_are_combined() -> None:
    """A tree that was dirty once is dirty; if the commit changed during the run, it is unknown."""
    clean, dirty, unknown = Commit("a", dirty=False), Commit("a", dirty=True, changed=("x",)), Commit("a")
    assert clean.combined(dirty) == dirty.combined(clean) == dirty
    assert dirty.combined(unknown).dirty is True
    assert clean.combined(unknown).dirty is None
    assert clean.combined(Commit("b", dirty=False)) == Commit()
