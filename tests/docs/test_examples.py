"""Every example of ``docs/`` is executed: files are written or changed, commands are run, output is compared."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import sys
import sysconfig
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from tests import warm_start
from tests.docs.page import Block, Command, commands, is_shown, patched, sections

ROOT = Path(__file__).parent.parent.parent
ROOMS = ("hil", "plugins", "fixtures", "suites")
PAGES = ("adding.md", "pytest.md", "signing.md")
QUICK = {"duration": '"0.2 s"', "warmup": '"50 ms"', "budget": '"0.4 s"', "soak": "100"}
"""Replacements in the pages' ``[measure]``: no example is about how long a measurement takes."""
SAMPLES = 300
"""The samples of the bundled validation data that the project has: fewer cannot exclude a drop of 1 %."""
HIL = "import sys; from hil.cli import main; sys.exit(main())"
EXAMPLES = [
    pytest.param(page, title, id=f"{page}:{title or 'introduction'}")
    for page in PAGES
    for title, blocks in sections(ROOT / "docs" / page).items()
    if any(block.kind == "console" for block in blocks)
]


@dataclass
class Reader:
    """Executes a page in a project and, where the page requires it, in a clone."""

    project: Path
    clone: Path

    def follow(self, blocks: list[Block]) -> None:
        """Execute the blocks in their order."""
        for block in blocks:
            if block.kind == "console":
                for command in commands(block.body):
                    self.run(command)
            elif block.path is not None:
                self.write(block)

    def write(self, block: Block) -> None:
        """Write or change the file that a block names."""
        assert block.path is not None
        path = self.place(block.path)
        if block.kind == "diff":
            path.write_text(patched(path.read_text(encoding="utf-8"), block.body), encoding="utf-8")
        else:
            assert not path.exists() or path.is_relative_to(self.project), f"{path} already exists"
            path.write_text(_shortened(block.body), encoding="utf-8")

    def place(self, path: str) -> Path:
        """Return the path of a file that the page names; a file of the clone creates the clone."""
        if path.split("/", maxsplit=1)[0] not in ROOMS:
            return self.project / path
        if not self.clone.exists():
            for room in ROOMS:
                unfinished = shutil.ignore_patterns("*.pyc.*")  # byte code that another process is writing
                shutil.copytree(ROOT / room, self.clone / room, symlinks=True, ignore=unfinished)
        return self.clone / path

    def run(self, command: Command) -> None:
        """Run one command and compare its exit code and output with those of the page."""
        scripts = sysconfig.get_path("scripts")
        env = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST_", "COV_", "HIL_"))}
        for name in ("CI", "BUILD_NUMBER"):  # the reader is at a terminal, where a selection of tests is a trial
            env.pop(name, None)
        env |= {"PATH": os.pathsep.join([scripts, env["PATH"]]), "XDG_CACHE_HOME": str(self.project / ".cache")}
        env |= {"PYTHONPATH": os.pathsep.join([str(self.clone), os.environ["PYTHONPATH"]]), "COLUMNS": "200"}
        env["PYTEST_ADDOPTS"] = "-p no:benchmark"  # an optional plugin that no page requires
        program, *arguments = shlex.split(command.text)
        starts = {"pytest": ["-m", "pytest"], "hil": ["-c", HIL]}
        if program in starts and not self.clone.exists():
            argv = [sys.executable, *starts[program], *arguments]
        else:  # the warm process has not imported the clone's modules
            argv = [shutil.which(program, path=env["PATH"]) or program, *arguments]
        done = warm_start.run(argv, cwd=self.project, env=env, timeout=300)
        output = done.stdout + done.stderr
        assert done.returncode == command.code, f"$ {command.text}\nexit code {done.returncode}\n{output}"
        assert "Traceback" not in output, f"$ {command.text}\n{output}"
        missing = [line for line in command.output if not is_shown(line, output)]
        assert not missing, f"$ {command.text}\nnot shown: {missing}\n{output}"


def _shortened(text: str) -> str:
    for name, value in QUICK.items():
        text = re.sub(rf"(?m)^{name}( *)= .*", rf"{name}\1= {value}", text)
    return text.replace("[measure]", "[measure]\nexamples = 5")


@pytest.fixture
def reader(tmp_path: Path) -> Reader:
    """Return a reader whose project contains only the bundled model and part of its data."""
    project = tmp_path / "project"
    project.mkdir()
    digits = ROOT / "examples" / "digits"
    for name in ("model.onnx", "calibration.npz"):
        shutil.copy(digits / name, project)
    with np.load(digits / "validation.npz", allow_pickle=False) as data:
        np.savez(project / "validation.npz", image=data["image"][:SAMPLES], labels=data["labels"][:SAMPLES])
    return Reader(project, tmp_path / "clone")


@pytest.mark.parametrize(("page", "title"), EXAMPLES)
def test_an_example_ends_as_the_page_shows(reader: Reader, page: str, title: str) -> None:
    """After the page's introduction, each command of a section has the exit code and output of the page."""
    blocks = sections(ROOT / "docs" / page)
    reader.follow([*(blocks[""] if title else []), *blocks[title]])


def test_every_file_in_an_example_is_named() -> None:
    """Each code block names its file, so that every example is executed."""
    for page in PAGES:
        for title, blocks in sections(ROOT / "docs" / page).items():
            nameless = [block.body for block in blocks if block.path is None and block.kind not in {"console", "text"}]
            assert not nameless, (page, title, nameless)


@pytest.mark.parametrize("page", sorted(path.name for path in (ROOT / "docs").glob("*.md")))
def test_links_have_a_target(page: str) -> None:
    """Every file that a page links to exists, and has the heading of the link."""
    for target in re.findall(r"\]\(([^)\s]+)\)", (ROOT / "docs" / page).read_text(encoding="utf-8")):
        if "://" in target:
            continue
        name, _, heading = target.partition("#")
        path = ROOT / "docs" / (name or page)
        assert path.exists(), target
        titles = re.findall(r"^#+ (.+)$", path.read_text(encoding="utf-8"), flags=re.MULTILINE) if heading else []
        slugs = {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}
        assert not heading or heading in slugs, target


def test_every_file_named_in_the_architecture_exists() -> None:
    """Every path in ``architecture.md`` exists, relative to the root or to ``hil/``."""
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    named = re.findall(r"`([\w/]+/(?:\w+\.py)?)`", text)
    assert named
    assert not [path for path in named if not ((ROOT / path).exists() or (ROOT / "hil" / path).exists())]
