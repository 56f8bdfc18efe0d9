"""The example pipelines, which users copy."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import sysconfig
import zipfile
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from hil.cli.app import COMMANDS
from tests.plugins.project import Project

if TYPE_CHECKING:
    from pathlib import Path

PIPELINES = {
    "github.yml": ["--builtin-schema", "vendor.github-workflows"],
    "gitlab-ci.yml": ["--builtin-schema", "vendor.gitlab-ci", "--data-transform", "gitlab-ci"],
}


@pytest.mark.parametrize("name", PIPELINES)
def test_a_pipeline_satisfies_its_systems_schema(repository: Path, name: str) -> None:
    """Each pipeline is valid under the schema that schemastore publishes for its system."""
    command = [sys.executable, "-m", "check_jsonschema", *PIPELINES[name], str(repository / "examples" / "ci" / name)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("name", PIPELINES)
def test_a_pipeline_uses_existing_commands_and_options(repository: Path, name: str) -> None:
    """A pipeline uses only commands and options of hil, and runs on the board's runner."""
    text = (repository / "examples" / "ci" / name).read_text(encoding="utf-8")
    lines = [line.split("#")[0] for line in text.splitlines() if not line.strip().startswith("#")]
    used = re.findall(r"(?:^|[:\-] )hil (\w+)", "\n".join(lines), re.MULTILINE)
    assert set(used) == {"doctor", "gate", "deploy", "releases"}
    assert set(used) <= set(COMMANDS)
    options = set(re.findall(r"--hil-[\w-]+", "\n".join(lines)))
    plugin = (repository / "plugins" / "plugin.py").read_text(encoding="utf-8")
    assert options == {"--hil-gate", "--hil-fallback", "--hil-history"}
    assert all(f'"{option}"' in plugin for option in options)
    assert "jetson-bench" in text
    assert "board-orin-3" in text


@pytest.mark.parametrize(
    ("name", "approval"), [("github.yml", "required reviewers"), ("gitlab-ci.yml", "when: manual")]
)
def test_a_robot_is_deployed_from_the_main_branch_after_an_approval(repository: Path, name: str, approval: str) -> None:
    """Only the main branch deploys to a robot, after the board job and a manual approval, never on a fallback."""
    text = (repository / "examples" / "ci" / name).read_text(encoding="utf-8")
    job = text[text.index("on the robot") :]
    assert "environment: robot-7" in job
    assert approval in job
    assert "refs/heads/main" in job or "$CI_DEFAULT_BRANCH" in job
    assert "on the board" in job or "needs: board" in job
    assert "--hil-fallback" not in job


def steps(repository: Path, name: str) -> list[str]:
    """Return the shell commands of a pipeline, in the order of its jobs, without repetitions."""
    document: dict[str, Any] = yaml.safe_load((repository / "examples" / "ci" / name).read_text(encoding="utf-8"))
    if name == "github.yml":
        listed = [step["run"] for job in document["jobs"].values() for step in job["steps"] if "run" in step]
    else:
        jobs = [table for table in document.values() if isinstance(table, dict)]
        listed = [line for job in jobs for key in ("before_script", "script") for line in job.get(key, ())]
    return list(dict.fromkeys(listed))


@pytest.mark.parametrize("name", PIPELINES)
def test_a_pipeline_installs_what_exists(repository: Path, name: str) -> None:
    """A pipeline installs only what ``PYTEST_HIL`` names, and needs neither ``pyproject.toml`` nor a pip cache."""
    text = (repository / "examples" / "ci" / name).read_text(encoding="utf-8")
    installs = [
        line for step in steps(repository, name) for line in step.splitlines() if "pip" in line and "install" in line
    ]
    assert installs
    assert all(line.endswith('install "$PYTEST_HIL"') for line in installs)
    assert re.search(r"^  PYTEST_HIL: \S+$", text, re.MULTILINE)
    assert "pyproject" not in text
    assert "cache: pip" not in text


def wheel(folder: Path) -> Path:
    """Return an empty wheel named pytest-hil, since the package is installed already."""
    path, info = folder / "pytest_hil-0-py3-none-any.whl", "pytest_hil-0.dist-info"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\nName: pytest-hil\nVersion: 0\n")
        archive.writestr(
            f"{info}/WHEEL", "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        archive.writestr(f"{info}/RECORD", "")
    return path


@pytest.mark.long
def test_the_steps_run_as_far_as_they_go_here(repository: Path, tmp_path: Path) -> None:
    """Each step of both pipelines succeeds in a project, except those for a robot, which fail with one message."""
    for folder in ("project", "home", "temp"):
        (tmp_path / folder).mkdir()
    project = Project.make(tmp_path / "project")
    project.require("contract.signature")
    with project.toml.open("a", encoding="utf-8") as file:
        file.write('\n[targets.jetson-orin]\nkind = "local"\n')
    env = {**project.env, "HOME": str(tmp_path / "home"), "RUNNER_TEMP": str(tmp_path / "temp"), "COLUMNS": "200"}
    env |= {"GITHUB_PATH": str(tmp_path / "path"), "GITHUB_REPOSITORY_ID": "7", "CI_PROJECT_ID": "7"}
    env |= {"PYTEST_HIL": str(wheel(tmp_path)), "XDG_CACHE_HOME": str(tmp_path / "cache")}
    env |= {"PATH": os.pathsep.join([sysconfig.get_path("scripts"), env["PATH"]])}
    env |= {"PIP_TARGET": str(tmp_path / "installed"), "PIP_NO_INDEX": "1"}  # never into the environment of this run
    del env["PYTHONPATH"]  # the forks of this run's tests are files that no commit of a project has
    env["PYTEST_ADDOPTS"] = "-k signature -p no:cacheprovider"  # one check is enough to see that the commands fit
    (project.root / ".gitignore").write_text("__pycache__\n")

    def run(command: str) -> tuple[int, str]:
        argv = ["bash", "-eo", "pipefail", "-c", command]
        done = subprocess.run(argv, cwd=project.root, env=env, capture_output=True, text=True, check=False, timeout=120)
        return done.returncode, done.stdout + done.stderr

    author = "git -c user.name=me -c user.email=me@example.org"
    assert run(f"git init -q && git add . && {author} commit -qm model")[0] == 0
    both = [*steps(repository, "github.yml"), *steps(repository, "gitlab-ci.yml")]
    both = list(dict.fromkeys(step.strip().replace("$CI_PROJECT_ID", "$GITHUB_REPOSITORY_ID") for step in both))
    # GitLab's environment is GitHub's in another folder, and is made once.
    done = {step: run(step) for step in both if ".venv" not in step}
    missing = {step: out for step, out in done.items() if step.startswith(("hil deploy", "hil releases"))}
    assert {code for code, _ in missing.values()} == {4}, missing
    assert all("robot-7" in out and "Traceback" not in out for _, out in missing.values()), missing
    failed = {step: out for step, out in done.items() if step not in missing and out[0] != 0}
    assert not failed, failed
    assert run("git clean -ffdxq && test ! -e report && test ! -e .hil")[0] == 0
    code, listed = run('hil history --history "sqlite:///$HOME/hil/7.db"')
    assert code == 0, listed
    assert "jetson-orin" in listed
