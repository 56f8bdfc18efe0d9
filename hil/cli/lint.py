"""``hil lint MODEL``: report, without a board, what TensorRT, a module or a JetPack release does not support."""

from __future__ import annotations

import json
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hil.cli.views.configs import config_at
from hil.cli.views.console import console
from hil.errors import ExitCode, UserError, did_you_mean

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hil.config.load import Config
    from hil.config.spec import ModelSpec
    from hil.lint import Examined, Machine

SCHEMA = 1
SIGNS = {"bad": ("✗", "bold red"), "warn": ("!", "yellow"), "unknown": ("?", "dim")}
"""Sign and style of each level, as ``hil doctor`` shows them."""

LABELS = {"bad": "blocking", "warn": "to check", "unknown": "unknown"}


def command(  # noqa: PLR0913, PLR0917 - the command's options
    model: Annotated[str, typer.Argument(metavar="MODEL", help="An ONNX file, or the name of a model in hil.toml.")],
    target: Annotated[
        str | None, typer.Option("--target", "-t", metavar="NAME", help="A target of hil.toml: its board and runtime.")
    ] = None,
    module: Annotated[
        str | None, typer.Option("--module", metavar="NAME", help="A Jetson module, such as orin-nx-16gb.")
    ] = None,
    jetpack: Annotated[
        str | None, typer.Option("--jetpack", metavar="VERSION", help="A JetPack release, such as 6.2.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document instead of text.")] = False,  # noqa: FBT002 - an option
    config: Annotated[
        Path | None, typer.Option("--config", metavar="FILE", help="The config; default: the nearest hil.toml.")
    ] = None,
) -> int:
    r"""Report, in seconds and without a board, what will stop a model on a Jetson, with a fix for each problem.

    Without a module and a JetPack release, only problems on all of them are reported. If the nearest hil.toml has the
    model, its sizes and precisions are used. TensorRT-RTX's parser reads the file too if it is installed (pip install
    tensorrt-rtx-cu13-libs tensorrt-rtx-cu13-bindings). Exit code 0: nothing stops the model; 1: something does; 4: the
    file cannot be read, or a name is wrong.

    [bold]Examples[/bold]

      hil lint detector.onnx

      hil lint detector.onnx --module orin-nx-16gb --jetpack 6.2

      hil lint detector --target jetson-orin --json | jq -r '.models\[].findings\[].what'
    """
    begun = time.monotonic()
    results = _examined(model, target, module, jetpack, config)
    seconds = time.monotonic() - begun
    if as_json:
        document = {"schema": SCHEMA, "seconds": round(seconds, 3), "models": [_entry(one) for one in results]}
        typer.echo(json.dumps(document, indent=2, ensure_ascii=False))
    else:
        for one in results:
            _show(one, seconds)
    return int(ExitCode.FAILED if any(one.stops for one in results) else ExitCode.PASSED)


def _examined(
    model: str, target: str | None, module: str | None, jetpack: str | None, config: Path | None
) -> list[Examined]:
    """Return what ``hil.lint.examine`` reports about each ONNX file of ``model``, the command's argument MODEL.

    Raise ``UserError`` if a file cannot be read, or for a name that does not exist.
    """
    from hil.config.find_config import find
    from hil.lint import examine
    from hil.lint.machine import machine_named

    if target is not None and module is not None:
        raise UserError("--target and --module name two machines: leave one of them out")
    file = Path(model)
    is_file = file.suffix == ".onnx" or file.exists()
    needed = target is not None or not is_file
    loaded = config_at(config) if needed or config is not None or find(Path.cwd()) is not None else None
    machine = machine_named(module, jetpack, None if loaded is None or target is None else loaded.target(target))
    if loaded is None:
        return [examine(file, machine)]
    name = _name(loaded, model, is_file=is_file)
    if name is None:
        return [examine(file, machine)]
    spec = loaded.model(name, target) if target else loaded.spec.models[name]
    return [examine(path, machine, spec=spec, name=name) for path in _files(loaded, spec, file if is_file else None)]


def _name(config: Config, model: str, *, is_file: bool) -> str | None:
    """Return the name of ``model`` in the config; ``None`` for a file of no model.

    ``model`` is a file if ``is_file``, else a name. Raise ``UserError`` for an unknown name.
    """
    names = config.spec.models
    if not is_file:
        if model not in names:
            raise UserError(f"{model} is neither a file nor a model of {config.path}{did_you_mean(model, names)}")
        return model
    wanted = Path(model).resolve()
    return next((name for name, spec in names.items() if wanted in {p.resolve() for p in _files(config, spec)}), None)


def _files(config: Config, spec: ModelSpec, only: Path | None = None) -> list[Path]:
    """Return ``only``, the file that the command names; if that is ``None``, all ONNX files of the model."""
    return [only] if only else [config.resolve(file) for file in (spec.path, *spec.deployed_files)]


def _entry(examined: Examined) -> dict[str, Any]:
    machine, memory, bound, parser = examined.machine, examined.memory, examined.eligible, examined.parser
    return {
        "model": str(examined.path),
        "runtime": machine.runtime.name,
        "module": machine.module.slug if machine.module else None,
        "jetpack": machine.release.jetpack if machine.release else None,
        "tensorrt": machine.tensorrt,
        "stops": examined.stops,
        "findings": [finding.as_dict() for finding in examined.findings],
        "parser": {"name": "TensorRT-RTX", **vars(parser)} if parser else None,
        "memory": {**vars(memory), "estimate": True} if memory else None,
        "dla": {"layers": bound.layers, "at_most": bound.eligible, "others": dict(bound.others)} if bound else None,
        "operator_lists": _lists(machine),
    }


def _lists(machine: Machine) -> list[dict[str, str]]:
    from hil.lint.operator_lists import release_lists

    return [{"tensorrt": one.tensorrt, "commit": one.commit} for one in release_lists(machine.tensorrt)]


def _show(examined: Examined, seconds: float) -> None:
    from rich.text import Text

    out = console()
    out.print(Text.assemble((str(examined.path), "bold"), (f"  for {examined.machine}", "dim")))
    for finding in examined.findings:
        sign, style = SIGNS[finding.level]
        out.print(Text.assemble((f"{sign} ", style), str(finding), (f"  [{finding.rule}]", "dim")))
    for line in _facts(examined):
        out.print(Text(f"  {line}", style="dim"))
    counts = Counter[str](finding.level for finding in examined.findings)
    said = ", ".join(f"{counts[level]} {label}" for level, label in LABELS.items() if counts[level])
    style = "bold red" if examined.stops else "bold green"
    out.print(
        Text.assemble((f"{examined.path.name}: {said or 'nothing found'}", style), (f"  ({seconds:.1f} s)", "dim"))
    )


def _facts(examined: Examined) -> Sequence[str]:
    """Return lines about the estimates of memory and DLA layers, and about the sources of the findings."""
    from hil.units import show

    lines = []
    memory, parser = examined.memory, examined.parser
    if memory is not None:
        left_out = f", {memory.unsized} tensors of unknown size left out" if memory.unsized else ""
        sizes = f"weights {show(memory.weights, 'B')}, activations at least {show(memory.activations, 'B')}"
        lines.append(f"estimate: {sizes}{left_out}")
    if examined.eligible is not None:
        lines.append(f"by its operators, a DLA can run {examined.eligible}")
    known = [f"{one['tensorrt']} ({one['commit'][:8]})" for one in _lists(examined.machine)]
    if known:
        lines.append(f"operators: onnx-tensorrt's list of TensorRT {' and '.join(known)}")
    if parser is not None:
        took = "refuses" if parser.refusal else "accepts"
        lines.append(f"parser: {parser.trouble or f'TensorRT-RTX {parser.version} {took} the file'}")
    elif examined.machine.compiles:
        lines.append("parser: not run, because the file itself has errors")
    return lines
