from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hil.errors import UserError
from hil.onnx_files.imported_modules import digest_of_modules, modules_of

if TYPE_CHECKING:
    from collections.abc import Mapping

LEAF = "value = 1\n"


def _write(root: Path, files: Mapping[str, str]) -> None:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def _names(root: Path, name: str = "pre") -> list[str]:
    return [module.name for module in modules_of(name, root, "m")]


@pytest.mark.parametrize(
    "statement",
    [
        "import pkg.sub.leaf",
        "import pkg.sub.leaf as it",
        "from pkg.sub import leaf",
        "from pkg.sub.leaf import value",
        "from pkg.sub import *",
        "def late():\n    from pkg.sub import leaf",
        "if True:\n    try:\n        import pkg.sub.leaf\n    except ImportError:\n        pass",
        "import importlib\nimportlib.import_module('pkg.sub.leaf')",
        "from importlib import import_module\nimport_module('.leaf', 'pkg.sub')",
        "import importlib\nimportlib.import_module(name='.sub.leaf', package='pkg')",
        "__import__('pkg.sub.leaf')",
        "from pkg import through",
    ],
)
def test_every_way_to_import_is_followed(tmp_path: Path, statement: str) -> None:
    """A module is included however it is imported, with its parent packages; other modules are not."""
    _write(
        tmp_path,
        {
            "pre.py": statement + "\n",
            "pkg/__init__.py": "",
            "pkg/through.py": "from .sub import leaf\nfrom . import sub\nfrom .. import beyond\n",
            "pkg/sub/__init__.py": "",
            "pkg/sub/leaf.py": LEAF,
            "beyond.py": "",
            "stranger.py": "",
        },
    )
    through = ["pkg/through.py"] if "through" in statement else []
    assert _names(tmp_path) == ["pkg/__init__.py", "pkg/sub/__init__.py", "pkg/sub/leaf.py", *through, "pre.py"]


def test_namespace_packages_and_compiled_modules_are_included(tmp_path: Path) -> None:
    """A namespace package has no file of its own; an extension module is hashed but not parsed."""
    _write(tmp_path, {"pre.py": "import space.inner.leaf, fast", "space/inner/leaf.py": LEAF, "fast.abi3.so": "\0(("})
    assert _names(tmp_path) == ["fast.abi3.so", "pre.py", "space/inner/leaf.py"]


def test_installed_modules_are_not_the_projects(tmp_path: Path) -> None:
    """The standard library, installed packages and a virtual environment in the project are not included."""
    _write(
        tmp_path,
        {"pre.py": "import json, numpy, venv.lib.site_packages, env", "env/lib/site-packages/numpy/__init__.py": "("},
    )
    assert _names(tmp_path) == ["pre.py"]
    assert _names(tmp_path, "numpy.linalg") == ["numpy", "numpy.linalg"]
    assert _names(tmp_path, "sys") == []


def test_a_module_outside_the_project_folder(tmp_path: Path) -> None:
    """A module next to the project's folder is included if Python finds it there."""
    _write(
        tmp_path, {"src/lib/__init__.py": "from . import leaf", "src/lib/leaf.py": "import other", "src/other.py": ""}
    )
    (tmp_path / "hil").mkdir()
    code = (
        "from pathlib import Path; from hil.onnx_files.imported_modules import modules_of;"
        f"print([module.name for module in modules_of('lib', Path({str(tmp_path / 'hil')!r}), 'm')])"
    )
    done = subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path.append({str(tmp_path / 'src')!r}); {code}"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == "['lib/__init__.py', 'lib/leaf.py', 'other.py']"


@pytest.mark.parametrize(("text", "why"), [("def (", "line 1"), ("x = '\0'", "null")])
def test_a_module_that_cannot_be_read_is_an_error(tmp_path: Path, text: str, why: str) -> None:
    """A module that cannot be read is an error that names it and the model."""
    _write(tmp_path, {"pre.py": "import leaf", "leaf.py": text})
    with pytest.raises(UserError, match=rf"leaf\.py cannot be read as Python .*{why}.*: model m: "):
        modules_of("pre", tmp_path, "m")


@settings(deadline=None, max_examples=60)
@given(st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6), st.booleans()), max_size=14), st.integers(0, 6))
def test_exactly_the_reachable_modules_are_included(edges: list[tuple[int, int, bool]], changed: int) -> None:
    """In any graph of imports, also with cycles, exactly the reachable modules count and change the digest."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        lines: dict[int, list[str]] = {number: [] for number in range(7)}
        for start, end, relative in edges:
            lines[start].append(f"def f():\n    from . import m{end}" if relative else f"import pkg.m{end}")
        _write(root, {"pkg/__init__.py": "", **{f"pkg/m{n}.py": "\n".join(text) for n, text in lines.items()}})
        reached, waiting = {0}, [0]
        while waiting:
            module = waiting.pop()
            new = {end for start, end, _ in edges if start == module} - reached
            reached |= new
            waiting += new
        modules = modules_of("pkg.m0", root, "m")
        assert {module.name for module in modules} == {"pkg/__init__.py", *(f"pkg/m{number}.py" for number in reached)}
        before = digest_of_modules(modules)
        with (root / f"pkg/m{changed}.py").open("a") as file:
            file.write("\nnew = 1\n")
        assert (digest_of_modules(modules_of("pkg.m0", root, "m")) != before) == (changed in reached)
