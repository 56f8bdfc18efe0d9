"""Run ``docs/tutorial.md`` in an empty folder with the wheel alone: ``python -m tests.docs.tutorial WHEEL``.

Each command must have the exit code and output of the page. Time and number of commands of each step are printed.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from tests.docs.page import Block, Command, commands, is_shown, patched, sections

ROOT = Path(__file__).parent.parent.parent
PAGE = ROOT / "docs" / "tutorial.md"
INSTALLING = ("python3 -m venv", "pip install --quiet ./pytest_hil")
OURS = ("PYTEST_", "COV_", "HIL_", "GITHUB_", "GITLAB_")
"""Variables that a reader's shell does not have."""
SECONDS = 600


class Different(Exception):  # noqa: N818 - what differs from the page
    """A command ended otherwise than the page shows."""


@dataclass
class Reader:
    """Follows the page in ``folder``. If ``installed`` is true, the commands that install pytest-hil are skipped."""

    folder: Path
    installed: bool = False

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
                count += 1
                if not (self.installed and command.text.startswith(INSTALLING)):
                    self.run(command)
            if block.path is not None:
                path = self.folder / block.path
                path.parent.mkdir(exist_ok=True)
                text = patched(path.read_text(encoding="utf-8"), block.body) if block.kind == "diff" else block.body
                path.write_text(text, encoding="utf-8")
        return count

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
        for title, blocks in sections(PAGE).items():
            number = int(title.split(".")[0] or 0) if title else 0
            if not options.first <= number <= options.last:
                continue
            started = time.monotonic()
            try:
                count = reader.follow(blocks)
            except (Different, subprocess.TimeoutExpired) as error:
                print(f"{title or 'installation'}: not as the page shows: {error}", flush=True)  # noqa: T201 - a program for people
                return 1
            print(f"{time.monotonic() - started:6.1f} s {count:3} commands  {title or 'installation'}", flush=True)  # noqa: T201 - as above
    return 0


if __name__ == "__main__":
    sys.exit(main())
