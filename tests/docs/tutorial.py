"""Run ``docs/tutorial.md`` in an empty folder with the wheel alone: ``python -m tests.docs.tutorial WHEEL``.

Each command must have the exit code and output of the page. Time, processor time and number of commands of each step
are printed.
"""

from __future__ import annotations

import argparse
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from tests.docs.page import Block, Command, commands, is_shown, patched, sections

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parent.parent.parent
PAGE = ROOT / "docs" / "tutorial.md"
INSTALLING = ("python3 -m venv", "pip install --quiet ./pytest_hil")
OURS = ("PYTEST_", "COV_", "HIL_", "GITHUB_", "GITLAB_")
"""Variables that a reader's shell does not have."""
SECONDS = 600
BOARDS = "*/ssh_config"
"""The files that simulated boards write when they can be reached."""


class Different(Exception):  # noqa: N818 - what differs from the page
    """The outcome of a command is not the one that the page shows."""


@dataclass
class Reader:
    """Follow the page in ``folder``. If ``without`` is set, skip diffs, and commands that contain its text.

    If ``installed`` is true, the commands that install pytest-hil are skipped.
    """

    folder: Path
    installed: bool = False
    running: list[subprocess.Popen[bytes]] = field(default_factory=list)
    without: str | None = None

    def __post_init__(self) -> None:
        """Set up the reader's environment: nothing of this repository."""
        own = {name: text for name, text in os.environ.items() if not name.startswith(OURS)}
        for name in ("PYTHONPATH", "CI", "BUILD_NUMBER"):
            own.pop(name, None)
        self.env = own | {"XDG_CACHE_HOME": str(self.folder / ".cache"), "COLUMNS": "200"}
        self.env["PATH"] = os.pathsep.join([str(self.folder / ".venv" / "bin"), own["PATH"]])
        self.env.setdefault(
            "PIP_CACHE_DIR", str(Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "pip")
        )

    def follow(self, blocks: list[Block]) -> int:
        """Execute the blocks of a step; return how many commands they have. Raise ``Different``."""
        count = 0
        for block in blocks:
            for command in commands(block.body) if block.kind == "console" else ():
                if self.without is not None and self.without in command.text:
                    continue
                count += 1
                if not (self.installed and command.text.startswith(INSTALLING)):
                    self.run(command)
            if block.kind == "sh":
                self.start(block.body.strip())
            if block.path is not None and not (self.without and block.kind == "diff"):
                path = self.folder / block.path
                path.parent.mkdir(exist_ok=True)
                text = patched(path.read_text(encoding="utf-8"), block.body) if block.kind == "diff" else block.body
                path.write_text(text, encoding="utf-8")
        return count

    def start(self, text: str) -> None:
        """Start a simulated board in this clone and wait until its files are written; ``close`` stops it."""
        count = len(list(self.folder.glob(BOARDS)))
        env = os.environ | {"TUTORIAL": str(self.folder)}
        log = (self.folder / f"board-{count}.log").open("wb")
        with log:
            process = subprocess.Popen(
                ["/bin/bash", "-c", f"exec {text}"],
                cwd=ROOT,
                env=env,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        self.running.append(process)
        until = time.monotonic() + SECONDS
        while len(list(self.folder.glob(BOARDS))) == count:
            if process.poll() is not None or time.monotonic() > until:
                raise Different(f"$ {text}\nno board: {Path(log.name).read_text(encoding='utf-8')}")
            time.sleep(0.1)

    def close(self) -> None:
        """Stop the simulated boards."""
        for process in self.running:
            process.terminate()
            process.wait(60)

    def run(self, command: Command) -> None:
        """Run a command to its end."""
        done = subprocess.run(
            ["/bin/bash", "-c", command.text],
            cwd=self.folder,
            env=self.env,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=SECONDS,
        )
        output = done.stdout + done.stderr
        if done.returncode != command.code:
            raise Different(f"$ {command.text}\nexit code {done.returncode}, not {command.code}\n{output}")
        missing = [line for line in command.output if not is_shown(line, output)]
        if missing or "Traceback" in output:
            raise Different(f"$ {command.text}\nnot shown: {missing}\n{output}")


def main(argv: list[str] | None = None) -> int:
    """Follow the page; return exit code 1 where it differs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("wheel", type=Path, help="the wheel of pytest-hil")
    parser.add_argument("--venv", type=Path, help="an environment in which it is installed already, to save time")
    parser.add_argument("--last", type=int, default=10, help="the last step to run (default: 10)")
    parser.add_argument("--first", type=int, default=0, help="go on at this step in the --folder of an earlier call")
    parser.add_argument("--folder", type=Path, help="an empty folder, which is kept")
    options = parser.parse_args(argv)
    with tempfile.TemporaryDirectory(prefix="tutorial-") as temporary:
        reader = Reader(Path(options.folder or temporary).resolve(), options.venv is not None)
        if not options.first:
            shutil.copy(options.wheel, reader.folder)
        if options.venv and not options.first:
            (reader.folder / ".venv").symlink_to(options.venv.resolve())
        with closing(reader):
            return 0 if all(step.show() for step in steps(reader, options.first, options.last)) else 1


@dataclass(frozen=True)
class Step:
    """A step that was followed: its time, the processor time of its commands, and how it differs from the page."""

    title: str
    seconds: float
    processors: float
    commands: int
    wrong: str = ""

    def show(self) -> bool:
        """Print how the step differs from the page, if it does, and its figures; return whether it matches the page."""
        if self.wrong:
            print(f"{self.title}: not as the page shows: {self.wrong}", flush=True)  # noqa: T201 - a program for people
        figures = f"{self.seconds:6.1f} s {self.processors:6.1f} s of processors {self.commands:3} commands"
        print(f"{figures}  {self.title}", flush=True)  # noqa: T201 - as above
        return not self.wrong


def steps(reader: Reader, first: int, last: int) -> Iterator[Step]:
    """Follow the steps ``first`` to ``last``, until one differs from the page; yield each step when it has ended."""
    for title, blocks in sections(PAGE).items():
        if not first <= int(title.split(".")[0] or 0) <= last:
            continue
        began, used, count, wrong = time.monotonic(), _processors(), 0, ""
        try:
            count = reader.follow(blocks)
        except (Different, subprocess.TimeoutExpired) as error:
            wrong = str(error)
        yield Step(title or "installation", time.monotonic() - began, _processors() - used, count, wrong)
        if wrong:
            return


def _processors() -> float:
    """Return the processor seconds of all commands that have ended; the agent on a simulated board is not included."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


if __name__ == "__main__":
    sys.exit(main())
