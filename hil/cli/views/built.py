"""Print the output of ``hil build``: a table of the engines, and the equivalent ``trtexec`` commands."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rich.table import Table
from rich.text import Text

from hil.cli.views.console import console
from hil.runtimes import runtime_record
from hil.session.engines.trtexec import equivalent
from hil.text import clean
from hil.units import show

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from hil.session import Session
    from hil.session.engines.provision import Provisioned

COLUMNS = ("precision", "engine", "size", "seconds", "cached", "timing cache", "warnings")


def print_engines(session: Session, model: str, engines: Mapping[str, Provisioned]) -> None:
    """Print a table of ``engines`` (by precision), their files and their ``trtexec`` commands.

    Print nothing if there are no engines.
    """
    if not engines:
        return
    out = console()
    out.print(Text(f"{model} on {session.used}", style="bold"))
    out.print(table(engines))
    for provisioned in engines.values():
        out.print(Text(f"  {session.report_dir / provisioned.file}"))
    for line in commands(session, model, engines):
        out.print(line)


def table(engines: Mapping[str, Provisioned]) -> Table:
    """Return a table with one row for each engine. Its last column is the number of warnings in the builder's log."""
    columns = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for name in COLUMNS:
        columns.add_column(name, no_wrap=True)
    for precision, provisioned in engines.items():
        columns.add_row(*(Text(cell) for cell in _cells(precision, provisioned)))
    return columns


def _cells(precision: str, provisioned: Provisioned) -> tuple[str, ...]:
    engine = provisioned.engine
    warnings = engine.about.get("warnings")
    return (
        precision,
        engine.digest[:12],
        show(engine.size, "B"),
        "built elsewhere" if provisioned.foreign else f"{engine.seconds:.2f}",
        "yes" if engine.cached else "no",
        str(engine.about.get("timing_cache") or "—"),
        "—" if warnings is None else str(len(warnings)),
    )


def commands(session: Session, model: str, engines: Mapping[str, Provisioned]) -> Iterator[Text]:
    """Yield the ``trtexec`` command equivalent to each build, then how its result would differ.

    Engines that were built elsewhere are left out. Yield nothing if no engine is left or the runtime has no trtexec.
    """
    ours = {precision: provisioned for precision, provisioned in engines.items() if not provisioned.foreign}
    if not runtime_record(session.spec.runtime).has_trtexec or not ours:
        return
    differences: dict[str, None] = {}
    yield Text("\nthe equivalent trtexec command, on the target:", style="bold")
    for precision, provisioned in ours.items():
        options, version = _options(session, model, provisioned), provisioned.engine.runtime_version
        command = equivalent(provisioned.source.name, precision, options, version)
        differences |= dict.fromkeys(command.differences)
        yield Text(f"  {clean(command)}")
    yield Text("differences:", style="bold")
    yield from (Text(f"  - {difference}") for difference in differences)


def _options(session: Session, model: str, provisioned: Provisioned) -> dict[str, Any]:
    """Return the engine's build and run options, as ``equivalent`` needs them, with plugins as their paths."""
    spec, facts = session.model(model), provisioned.engine.facts
    options = {**(facts.get("options") or {}), "plugins": list(spec.build.plugins)}
    if facts.get("calibration") is not None:
        options["calibration"] = facts["calibration"]
    return {**options, "cuda_graph": spec.run.cuda_graph, "streams": spec.run.streams}
