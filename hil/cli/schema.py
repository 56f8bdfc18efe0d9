"""``hil schema``: the JSON Schema of ``hil.toml``, or of ``report.json``."""

from __future__ import annotations

import json
from typing import Annotated

import typer

DIALECT = "https://json-schema.org/draft/2020-12/schema"


def command(
    report: Annotated[bool, typer.Option("--report", help="The schema of report.json instead of hil.toml.")] = False,  # noqa: FBT002 - an option
) -> None:
    """Print the JSON Schema (Draft 2020-12) of hil.toml, for editors and other people's checks.

    [bold]Examples[/bold]

      hil schema > hil.schema.json
      hil schema --report | jq .title
    """
    typer.echo(json.dumps(report_schema() if report else config_schema(), indent=2, ensure_ascii=False))


def config_schema() -> dict[str, object]:
    """The schema of ``hil.toml``, as ``hil.config.spec`` defines it; quantities are strings with a unit."""
    from hil.config.spec import ConfigSpec

    return {"$schema": DIALECT, **ConfigSpec.model_json_schema(), "title": "hil.toml"}


def report_schema() -> dict[str, object]:
    """The schema of ``report.json``."""
    from hil.report.schema import report_schema as published

    return dict(published())
