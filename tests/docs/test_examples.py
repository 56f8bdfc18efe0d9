"""Every example of ``docs/`` is carried out: files written, text changed, commands run, output looked for."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import sys
import sysconfig
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests import warm_start
from tests.docs.book import Block, Command, chapters, commands, patched, shown

ROOT = Path(__file__).parent.parent.parent
ROOMS = ("hil", "plugins", "fixtures", "suites")
PAGES = ("adding.md", "pytest.md", "signing.md")
QUICK = {"duration": '"0.2 s"', "warmup": '"50 ms"', "budget": '"0.4 s"', "soak": "100"}
"""What the pages' ``[measure]`` is shortened to where the example changes no module of a clone."""
HIL = "import sys; from hil.cli import main; sys.exit(main())"
EXAMPLES = [
    pytest.param(page, title, id=f"{page}:{title or 'introduction'}")
    for page in PAGES
    for title, blocks in chapters(ROOT / "docs" / page).items()
    if any(block.kind == "console" for block in blocks)
]


@dataclass
class Reader:
    """A reader who follows a page in a project and, where the page requires it, in a clone."""

    project: Path
    clone: Path
    quick: bool = False

    def follow(self, blocks: list[Block]) -> None:
        """Does what the blocks say, in their order."""
        for block in blocks:
            if block.kind == "console":
                for command in commands(block.body):
                    self.run(command)
            elif block.path is not None:
                self.write(block)

    def write(self, block: Block) -> None:
        """Writes or changes the file that a block is about."""
        assert block.path is not None
        path = self.place(block.path)
        if block.kind == "diff":
            path.write_text(patched(path.read_text(encoding="utf-8"), block.body), encoding="utf-8")
        else:
            assert not path.exists() or path.is_relative_to(self.project), f"{path} is there already"
            path.write_text(self._shortened(block.body), encoding="utf-8")

    def _shortened(self, text: str) -> str:
        if not self.quick or "[measure]" not in text:
            return text
        for name, value in QUICK.items():
            text = re.sub(rf"(?m)^{name}( *)= .*", rf"{name}\1= {value}", text)
        return text.replace("[measure]", "[measure]\nexamples = 5")

    def place(self, path: str) -> Path:
        """Where a file of the page lies; the clone is made when it is first named."""
        if path.split("/", maxsplit=1)[0] not in ROOMS:
            return self.project / path
        if not self.clone.exists():
            for room in ROOMS:
                leave = shutil.ignore_patterns("*.pyc.*")  # byte code that is being written; the rest need not be again
                shutil.copytree(ROOT / room, self.clone / room, symlinks=True, ignore=leave)
        return self.clone / path

    def run(self, command: Command) -> None:
        """Runs one command and holds it against the exit code and the output that the page shows."""
        scripts = sysconfig.get_path("scripts")
        env = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST_", "COV_", "HIL_"))}
        env |= {"PATH": os.pathsep.join([scripts, env["PATH"]]), "XDG_CACHE_HOME": str(self.project / ".cache")}
        env |= {"PYTHONPATH": str(self.clone), "COLUMNS": "200"}
        env["PYTEST_ADDOPTS"] = "-p no:benchmark"  # an extra, which no page asks its reader to install
        program, *arguments = shlex.split(command.words)
        starts = {"pytest": ["-m", "pytest"], "hil": ["-c", HIL]}
        if program in starts and not self.clone.exists():
            words = [sys.executable, *starts[program], *arguments]
        else:  # the modules of a clone are others than those of the warm process
            words = [shutil.which(program, path=env["PATH"]) or program, *arguments]
        done = warm_start.run(words, cwd=self.project, env=env, timeout=300)
        output = done.stdout + done.stderr
        assert done.returncode == command.code, f"$ {command.words}\nexit code {done.returncode}\n{output}"
        assert "Traceback" not in output, f"$ {command.words}\n{output}"
        missing = [line for line in command.output if not shown(line, output)]
        assert not missing, f"$ {command.words}\nnot shown: {missing}\n{output}"


@pytest.fixture
def reader(tmp_path: Path) -> Reader:
    """A reader with an empty project beside the bundled model and its data."""
    project = tmp_path / "project"
    project.mkdir()
    for name in ("model.onnx", "validation.npz", "calibration.npz"):
        shutil.copy(ROOT / "examples" / "digits" / name, project)
    return Reader(project, tmp_path / "clone")


@pytest.mark.parametrize(("page", "title"), EXAMPLES)
def test_it_does_what_the_page_says(reader: Reader, page: str, title: str) -> None:
    """A section's example, begun from the page's introduction, ends as the page shows."""
    found = chapters(ROOT / "docs" / page)
    reader.quick = not any(block.path and block.path.split("/")[0] in ROOMS for block in found[title])
    reader.follow([*(found[""] if title else []), *found[title]])


def test_every_file_in_an_example_is_named() -> None:
    """A block of code that goes into a file says into which one: nothing shown is left untried."""
    for page in PAGES:
        for title, blocks in chapters(ROOT / "docs" / page).items():
            nameless = [block.body for block in blocks if block.path is None and block.kind not in {"console", "text"}]
            assert not nameless, (page, title, nameless)


@pytest.mark.parametrize("page", sorted(path.name for path in (ROOT / "docs").glob("*.md")))
def test_links_lead_somewhere(page: str) -> None:
    """Every file that a page links to is there, and so is the heading."""
    for target in re.findall(r"\]\(([^)\s]+)\)", (ROOT / "docs" / page).read_text(encoding="utf-8")):
        if "://" in target:
            continue
        name, _, heading = target.partition("#")
        path = ROOT / "docs" / (name or page)
        assert path.exists(), target
        titles = re.findall(r"^#+ (.+)$", path.read_text(encoding="utf-8"), flags=re.MULTILINE) if heading else []
        slugs = {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}
        assert not heading or heading in slugs, target


def test_every_file_that_is_named_is_there() -> None:
    """``architecture.md`` sends nobody to a file that was moved; its paths are from the root or from ``hil/``."""
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    named = re.findall(r"`([\w/]+/(?:\w+\.py)?)`", text)
    assert named
    assert not [path for path in named if not ((ROOT / path).exists() or (ROOT / "hil" / path).exists())]
