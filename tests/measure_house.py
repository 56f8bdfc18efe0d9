"""Compares the code's layout with its limits: ``python -m tests.measure_house`` exits with 1 if it exceeds one."""

from __future__ import annotations

import ast
import sys
from collections import Counter, defaultdict
from functools import cache
from statistics import median
from typing import TYPE_CHECKING

from tests.test_floors import ROOT, cycles, modules

if TYPE_CHECKING:
    from collections.abc import Iterable

MOST_MODULES, MOST_LINES, MOST_LOOSE = 20, 300, 12
LARGE_FOLDERS = {
    "hil/checks": "one module a family of checks",
    "hil/cli": "one module a command",
    "hil/agent/runtimes/tensorrt": "one module for each thing that differs between releases",
}
LONG_MODULES = {"hil/board/helper.py": "installed on a board as one file that root owns"}
PARALLEL = ("hil.checks.", "hil.session.gather.", "hil.suites.", "hil.cli.", "hil.metrics.")
"""Packages whose modules share names on purpose: a check, its measurement, its suite, its command."""
SAME_NAME = {
    "html": "one page of a report, one of a comparison",
    "markdown": "as html",
    "plots": "as html",
    "terminal": "as html",
    "schema": "the published document of a report and of a comparison, and the command that prints them",
    "expiry": "the pure rule, and the amendment of a session that applies it",
    "isaac_ros": "the file's reader and the check of it",
    "trtexec": "the command that shows its files, and the commands equivalent to our build",
    "deploying": "the host's steps, and what the robot's agent answers to them",
    "connect": "to a database, and to an SSH server",
    "target": "any target, and one over SSH",
    "recurrence": "steps with a state under any runtime, and under TensorRT",
    "control": "one workload through all layers: the agent times it, the session builds it, statistics, comparison",
    "session_noise": "the statistic, and its values from the history",
}


def main() -> int:
    """Print the figures and each limit that is exceeded; return 1 if there is one, else 0."""
    missed: list[str] = []
    paths = {module: path for module, path in modules().items() if path.name != "__init__.py"}
    folders = Counter(path.parent.relative_to(ROOT).as_posix() for path in paths.values())
    lines = {module: len(path.read_text(encoding="utf-8").splitlines()) for module, path in paths.items()}
    functions, documented, public = _definitions()
    for folder, count in folders.most_common():
        if count > (MOST_LOOSE if folder == "hil" else MOST_MODULES) and folder not in LARGE_FOLDERS:
            missed.append(f"{folder} has {count} modules")
    for module, count in sorted(lines.items(), key=lambda item: -item[1]):
        if count > MOST_LINES and paths[module].relative_to(ROOT).as_posix() not in LONG_MODULES:
            missed.append(f"{module} has {count} lines")
    missed += [f"a cycle of {len(cycle)}: {', '.join(cycle)}" for cycle in cycles()]
    missed += [f"{name} names {', '.join(twice)}" for name, twice in _same_names(paths)]
    print(f"{len(paths)} modules in {len(folders)} folders, {sum(lines.values())} lines")
    print(f"a module has {median(lines.values()):.0f} lines (median), {max(lines.values())} at most")
    print(
        f"a function has {median(functions):.0f} lines (median), {sorted(functions)[len(functions) * 95 // 100]} (p95)"
    )
    print(f"{documented} of {public} public definitions have a docstring")
    for line in missed:
        print(f"missed: {line}")
    print(f"{len(missed)} bars missed, 0 allowed")
    return int(bool(missed))


@cache
def _definitions() -> tuple[list[int], int, int]:
    """Return each function's length in lines, and the numbers of documented and of all public definitions."""
    functions, documented, public = [], 0, 0
    for path in modules().values():
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
                continue
            if not isinstance(node, ast.ClassDef):
                functions.append((node.end_lineno or node.lineno) - node.lineno + 1)
            if not node.name.startswith("_"):
                public += 1
                documented += ast.get_docstring(node) is not None
    return functions, documented, public


def _same_names(paths: Iterable[str]) -> list[tuple[str, list[str]]]:
    """Return each base name that several modules share, with the modules; ``PARALLEL`` and ``SAME_NAME`` are exempt."""
    by_name: dict[str, list[str]] = defaultdict(list)
    for module in sorted(paths):
        by_name[module.rpartition(".")[2]].append(module)
    others = {name: [module for module in twice if not module.startswith(PARALLEL)] for name, twice in by_name.items()}
    return [(name, by_name[name]) for name, left in others.items() if len(left) > 1 and name not in SAME_NAME]


if __name__ == "__main__":
    sys.exit(main())
