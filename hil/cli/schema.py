"""``hil schema``: print the JSON Schema of ``hil.toml`` or ``report.json``."""

from __future__ import annotations

import json
from typing import Annotated

import typer

DIALECT = "https://json-schema.org/draft/2020-12/schema"


def command(
    report: Annotated[bool, typer.Option("--report", help="Print the schema of report.json instead.")] = False,  # noqa: FBT002 - an option
) -> None:
    """Print the JSON Schema (Draft 2020-12) of hil.toml, for editors and validators.

    [bold]Examples[/bold]

      hil schema > hil.schema.json
      hil schema --report | jq .title
    """
    typer.echo(json.dumps(report_schema() if report else config_schema(), indent=2, ensure_ascii=False))


def config_schema() -> dict[str, object]:
    """Return the schema of ``hil.toml``. In this schema, a quantity may be a string with a unit or a number."""
    from hil.config.spec import ConfigSpec

    return {"$schema": DIALECT, **ConfigSpec.model_json_schema(), "title": "hil.toml"}


def report_schema() -> dict[str, object]:
    """Return the schema of ``report.json``."""
    from hil.report.schema import report_schema as published

    return dict(published())
