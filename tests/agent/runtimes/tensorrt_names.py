"""Read the names of TensorRT's Python API from a git checkout of its public bindings, release by release.

``python -m tests.agent.runtimes.tensorrt_names CHECKOUT`` writes ``tensorrt_api.json`` next to this file. Without an
argument it writes ``tensorrt_seen.json``, the names of the installed module. With a release of ``MODULES`` as argument
it adds the names of that release's module to ``tensorrt_wheels.json``. A name is one that is passed to pybind11
(``.def("x"``, ``.value("X"``, …) or that the package's ``__init__.py`` adds; a class also has the names of its base
classes.
"""

from __future__ import annotations

import ast
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

from tests.agent.runtimes.tensorrt_matrix import (
    BRANCHES,
    CORRECTIONS,
    MODULE,
    MODULES,
    PATH,
    Table,
    installed_names,
    public,
    read_wheel,
    write,
    write_installed,
    write_wheel,
)

DEFINED = {"EXPORT_ALL_BINDINGS": True, "ENABLE_INETWORK_SERIALIZE": False}
"""Macros that decide what the full ``tensorrt`` module has; other conditions do not affect names."""
LIST = ("append", "clear", "extend", "insert", "pop")
"""Methods of every list that pybind11's ``bind_vector`` binds; also ``count`` and ``remove`` if elements compare."""
DECLARED = re.compile(r"py::(class_|enum_|bind_vector|exception)<")
SCOPED = re.compile(r"\s*(\w+)?\s*[({]\s*(\w+)\s*,\s*\"(\w+)\"")
CHAINED = re.compile(r"\s*\.\s*(\w+)\s*\(\s*(?:\"(\w+)\")?")
CALLED_BACK = re.compile(
    r"OVER(?:LOAD|RIDE)(?:_PURE)?_NAME\(\s*[^;]*?,\s*(\w+),\s*\"(\w+)\""
    r"|getOverride\(static_cast<(?:const )?(\w+)(?: const)?\*>\(this\),\s*\"(\w+)\""
)
NAMING = re.compile(r"def|def_(static|readwrite|readonly|property)\w*|value")


@dataclass
class Known:
    """A bound class or enum: its own names, and the C++ types that it may inherit from."""

    names: set[str] = field(default_factory=set)
    bases: list[str] = field(default_factory=list)


@dataclass
class Names:
    """The names of one release: ``classes`` by Python name (``MODULE`` is the module itself), ``types`` by C++ name.

    ``callbacks`` are the methods that bindings call on objects, by C++ type and name. ``unread`` are names that belong
    to no known class.
    """

    classes: dict[str, Known] = field(default_factory=lambda: {MODULE: Known()})
    types: dict[str, str] = field(default_factory=dict)
    callbacks: set[tuple[str, str]] = field(default_factory=set)
    unread: list[str] = field(default_factory=list)

    def all_of(self, name: str) -> set[str]:
        """Return the names of a class and of all its bases."""
        known = self.classes[name]
        inherited = [self.all_of(self.types[base]) for base in known.bases if base in self.types]
        return known.names.union(*inherited)


def plain(source: str) -> str:
    """Return C++ without comments and without the branches that are not part of the full module."""
    source = re.sub(r'"(?:\\.|[^"\\\n])*"|//[^\n]*|/\*.*?\*/', _keep_strings, source, flags=re.DOTALL)
    lines: list[str] = []
    open_ifs: list[bool] = []
    for line in source.splitlines():
        word = re.match(r"\s*#\s*(if|ifdef|ifndef|else|elif|endif)\b\s*(.*)", line)
        if word is None:
            lines += [line] * all(open_ifs)
        elif word[1].startswith("if"):
            open_ifs.append(DEFINED.get(word[2].strip(), True))
        elif word[1] == "else":
            open_ifs[-1] = not open_ifs[-1] or not DEFINED
        elif word[1] == "endif":
            open_ifs.pop()
    return "\n".join(lines)


def _keep_strings(match: re.Match[str]) -> str:
    return match[0] if match[0].startswith('"') else " "


def closing(text: str, at: int) -> int:
    """Return the position after the bracket that closes the one at ``at``; brackets in strings do not count."""
    pairs = {"(": ")", "{": "}", "<": ">", "[": "]"}
    shut, depth = pairs[text[at]], 0
    for token in re.finditer(r'"(?:\\.|[^"\\])*"|->|[(){}<>\[\]]', text[at:]):
        depth += (token[0] == text[at]) - (token[0] == shut)
        if depth == 0:
            return at + token.end()
    raise ValueError(text[at : at + 80])


def read_cpp(source: str, names: Names) -> None:
    """Add the names that one C++ file of bindings declares."""
    text = plain(source)
    chains: dict[int, str] = {}
    names.callbacks |= {(m[1] or m[3], m[2] or m[4]) for m in CALLED_BACK.finditer(text)}
    variables = {"m": MODULE}
    for match in DECLARED.finditer(text):
        end = closing(text, match.end() - 1)
        scope = SCOPED.match(text, end)
        if scope is None:
            continue
        name = scope[3]
        types = [part.strip().split("::")[-1] for part in _arguments(text[match.end() : end - 1])]
        known = names.classes.setdefault(name, Known())
        known.bases += types[1:]
        names.types[types[0]] = name
        names.classes[variables.get(scope[2], MODULE)].names.add(name)
        if match[1] == "enum_":
            known.names.add("name")
        elif match[1] == "bind_vector":
            known.names.update(LIST, () if "PluginField" in types[0] else ("count", "remove"))
        chains[closing(text, text.index("({"["{" in scope[0]], end))] = name
        if scope[1]:
            variables[scope[1]] = name
    for match in re.finditer(r"(?<![.\w>])(\w+)(?=\s*\.\s*(?:def\w*|value|attr)\s*\()", text):
        if match[1] in variables:
            chains[match.end()] = variables[match[1]]
    read = {at for start, name in chains.items() for at in _follow(text, start, name, variables, names)}
    declared = re.finditer(r"\.\s*(?:def\w*|value)\s*\(\s*\"(\w+)\"", text)
    names.unread += [match[1] for match in declared if match.start() not in read]


def _follow(text: str, at: int, name: str, variables: dict[str, str], names: Names) -> set[int]:
    """Read ``.def("x", …).def("y", …)`` from ``at`` on; return the positions of its names."""
    positions: set[int] = set()
    values: list[str] = []
    while link := CHAINED.match(text, at):
        start = text.index(".", at)
        at = closing(text, text.index("(", start))
        if link[1] == "export_values":
            scope = next((owner for owner in variables.values() if name in names.classes[owner].names), MODULE)
            names.classes[scope].names.update(values)
        elif link[1] == "attr" and re.match(r"\s*=[^=]", text[at : at + 3]) and link[2]:
            names.classes[name].names.add(link[2])
        elif link[2] and NAMING.fullmatch(link[1]):
            positions.add(start)
            values.append(link[2])
            names.classes[name].names.add(link[2])
    return positions


def _arguments(text: str) -> list[str]:
    """Split template arguments at the commas of the outermost level."""
    parts, depth = [""], 0
    for letter in text:
        depth += (letter == "<") - (letter == ">")
        if letter == "," and not depth:
            parts.append("")
        else:
            parts[-1] += letter
    return parts


def read_python(source: str, names: Names) -> None:
    """Add the names that the package's ``__init__.py`` adds: functions, constants, attributes set on classes."""
    tree = ast.parse(source.replace("##TENSORRT_MODULE##", "tensorrt").replace("##", ""))
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign):
            for target in node.targets:
                if isinstance(target, ast.Attribute) and isinstance(target.value, ast.Name):
                    names.classes[target.value.id].names.add(target.attr)
        if isinstance(node, ast.Call) and ast.unparse(node).startswith("setattr(Logger, attr"):
            names.classes["Logger"].names |= names.classes["Severity"].names - {"name"}
    for node in tree.body:
        if isinstance(node, ast.FunctionDef):
            names.classes[MODULE].names.add(node.name)
        elif isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            names.classes[MODULE].names.add(node.targets[0].id)


def read_release(checkout: Path, branch: str) -> Names:
    """Return the names of the release in ``branch``, from its bindings and its package."""
    paths = _git(checkout, "ls-tree", "-r", "--name-only", branch, "python").splitlines()
    names = Names()
    for path in paths:
        if path.startswith("python/src/") and path.endswith(".cpp"):
            read_cpp(_git(checkout, "show", f"{branch}:{path}"), names)
    [package] = [
        path for path in paths if re.fullmatch(r"python/packaging/(bindings_wheel/)?tensorrt/__init__.py", path)
    ]
    read_python(_git(checkout, "show", f"{branch}:{package}"), names)
    if names.unread:
        raise SystemExit(f"{branch}: names that belong to no known class: {names.unread}")
    return names


def _git(checkout: Path, *words: str) -> str:
    git = shutil.which("git") or "git"
    return subprocess.run([git, "-C", str(checkout), *words], capture_output=True, text=True, check=True).stdout


def main() -> None:
    """Write the matrix of every release, or the names of the installed module."""
    if len(sys.argv) == 1:
        write_installed(*installed_names())
        return
    if sys.argv[1] in MODULES:
        write_wheel(sys.argv[1], MODULES[sys.argv[1]])
        return
    write_matrix(Path(sys.argv[1]))


def add_wheels(sources: dict[str, str], table: Table, callbacks: Table) -> None:
    """Add the releases whose names are known from their modules."""
    for version in MODULES:
        sources[version], classes = read_wheel(version)
        for owner, listed in classes.items():
            for name in listed:
                table.setdefault(owner, {}).setdefault(name, set()).add(version)
        for owner in callbacks.keys() & classes.keys():
            for versions in callbacks[owner].values():
                versions.update({version} if BRANCHES[-1] in versions else ())


def write_matrix(checkout: Path) -> None:
    """Write the matrix of every release, from a checkout of the sources and from the names of the wheels."""
    table: Table = {}
    callbacks: Table = {}
    sources = {}
    for version in BRANCHES:
        branch = f"release/{version}"
        sources[version] = f"{branch} {_git(checkout, 'rev-parse', branch).strip()}"
        names = read_release(checkout, branch)
        for owner in names.classes:
            for name in filter(public, names.all_of(owner)):
                if not any(wrong.holds(version, owner, name) for wrong in CORRECTIONS):
                    table.setdefault(owner, {}).setdefault(name, set()).add(version)
        for cpp, name in names.callbacks:
            if cpp in names.types:
                callbacks.setdefault(names.types[cpp], {}).setdefault(name, set()).add(version)
    add_wheels(sources, table, callbacks)
    write(PATH, sources, table, callbacks)


if __name__ == "__main__":
    main()
