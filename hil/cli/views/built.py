"""What ``hil build`` shows of the engines it built: a table, and the commands that would do the same."""

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


def tell(session: Session, model: str, made: Mapping[str, Provisioned]) -> None:
    """Shows what was built; nothing where nothing was."""
    if not made:
        return
    out = console()
    out.print(Text(f"{model} on {session.used}", style="bold"))
    out.print(table(made))
    for one in made.values():
        out.print(Text(f"  {session.report_dir / one.file}"))
    for line in commands(session, model, made):
        out.print(line)


def table(made: Mapping[str, Provisioned]) -> Table:
    """One row an engine; ``warnings`` counts those in the builder's log."""
    shown = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for name in COLUMNS:
        shown.add_column(name, no_wrap=True)
    for precision, one in made.items():
        shown.add_row(*(Text(cell) for cell in _cells(precision, one)))
    return shown


def _cells(precision: str, made: Provisioned) -> tuple[str, ...]:
    engine = made.engine
    warnings = engine.about.get("warnings")
    return (
        precision,
        engine.digest[:12],
        show(engine.size, "B"),
        "built elsewhere" if made.foreign else f"{engine.seconds:.2f}",
        "yes" if engine.cached else "no",
        str(engine.about.get("timing_cache") or "—"),
        "—" if warnings is None else str(len(warnings)),
    )


def commands(session: Session, model: str, made: Mapping[str, Provisioned]) -> Iterator[Text]:
    """The ``trtexec`` commands of what TensorRT built, then what differs; nothing of foreign engines."""
    ours = {precision: one for precision, one in made.items() if not one.foreign}
    if not runtime_record(session.spec.runtime).has_trtexec or not ours:
        return
    differences: dict[str, None] = {}
    yield Text("\nthe same by trtexec, on the target:", style="bold")
    for precision, one in ours.items():
        told = equivalent(one.source.name, precision, _options(session, model, one), one.engine.runtime_version)
        differences |= dict.fromkeys(told.differences)
        yield Text(f"  {clean(told)}")
    yield Text("what differs:", style="bold")
    yield from (Text(f"  - {one}") for one in differences)


def _options(session: Session, model: str, made: Provisioned) -> dict[str, Any]:
    """What the engine was built with, plugins by their files."""
    spec, facts = session.model(model), made.engine.facts
    options = {**(facts.get("options") or {}), "plugins": list(spec.build.plugins)}
    if facts.get("calibration") is not None:
        options["calibration"] = facts["calibration"]
    return {**options, "cuda_graph": spec.run.cuda_graph, "streams": spec.run.streams}
