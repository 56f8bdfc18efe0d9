"""The plugin loads no heavy library in runs that do not use it; ``benchmarks/startup.py`` measures the time."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib.metadata import entry_points
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

HEAVY = {
    "numpy",
    "scipy",
    "onnx",
    "onnxruntime",
    "pydantic",
    "rich",
    "typer",
    "jinja2",
    "PIL",
    "hil.results",
    "hil.session",
}

TRIVIAL = """
import atexit, json, pathlib, sys


def test_trivial(request):
    assert request.config.pluginmanager.hasplugin("hil")
    write = pathlib.Path("loaded.json").write_text
    atexit.register(lambda: write(json.dumps(sorted(sys.modules))))
"""


def run(folder: Path, *arguments: str) -> str:
    """Run a fresh interpreter in ``folder``, which must succeed; return its standard output."""
    done = subprocess.run([sys.executable, *arguments], cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_imports_are_light(tmp_path: Path) -> None:
    """The modules imported in every run load none of the heavy libraries."""
    modules = "hil, hil.errors, hil.cli, hil.plugins.plugin, hil.fixtures.fixtures"
    loaded = json.loads(run(tmp_path, "-c", f"import json, sys, {modules}; print(json.dumps(list(sys.modules)))"))
    assert set(modules.split(", ")) <= set(loaded)
    assert not HEAVY & set(loaded)


def test_unused_plugin_loads_nothing(tmp_path: Path) -> None:
    """A pytest run without hil options or tests imports no heavy library, although the plugin is loaded."""
    (tmp_path / "test_trivial.py").write_text(TRIVIAL, encoding="utf-8")
    run(tmp_path, "-m", "pytest", *without_other_plugins())
    assert not HEAVY & set(json.loads((tmp_path / "loaded.json").read_text(encoding="utf-8")))


def without_other_plugins() -> list[str]:
    """Return options that disable the other pytest plugins of this environment, whose imports do not count."""
    names = sorted({point.name for point in entry_points(group="pytest11")} - {"hil"})
    return [option for name in names for option in ("-p", f"no:{name}")]
