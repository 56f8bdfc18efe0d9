"""Define the outcome of a judged row, which contains all that it refers to and can be sent as JSON."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from hil.results import CheckResult, Frozen


class Outcome(Frozen):
    """A result with the records that it refers to: methods and environments by digest, engine, model and target."""

    result: CheckResult
    methods: dict[str, dict[str, Any]] = Field(default_factory=dict)
    environments: dict[str, dict[str, Any]] = Field(default_factory=dict)
    engines: list[dict[str, Any]] = Field(default_factory=list)
    models: list[dict[str, Any]] = Field(default_factory=list)
    target: dict[str, Any] = Field(default_factory=dict)
