"""The example pipelines, which users copy."""

from __future__ import annotations

import re
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from hil.cli.app import COMMANDS

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
