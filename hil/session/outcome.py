"""The outcome of a judged row: one self-contained value that can be sent as JSON."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from hil.results import CheckResult, Frozen


class Outcome(Frozen):
    """A result with all records that its digests refer to, so that one message carries both."""

    result: CheckResult
    methods: dict[str, dict[str, Any]] = Field(default_factory=dict)
    environments: dict[str, dict[str, Any]] = Field(default_factory=dict)
    engines: list[dict[str, Any]] = Field(default_factory=list)
    models: list[dict[str, Any]] = Field(default_factory=list)
    target: dict[str, Any] = Field(default_factory=dict)
