"""What the tables of ``hil.toml`` are made of: quantities in base units, words, days and keys."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import date, datetime
from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema

from hil.units import Dimension, parse, show

Precision = Literal["fp32", "tf32", "fp16", "bf16", "int8"]
PRECISIONS: tuple[Precision, ...] = ("fp32", "tf32", "fp16", "bf16", "int8")


@dataclass(frozen=True)
class Reach:
    """What the quantity behind a limit can reach: a limit that nothing can miss is refused where it is written.

    Without an ``edge`` there is no such limit, and ``why`` says so. Else ``edge``, and all that is looser, is kept by
    every model, and ``why`` says that; ``example`` is what to write. ``at_least`` limits are looser downwards.
    ``share`` marks a part of a whole, of which more than all is a slip.
    """

    why: str
    edge: float | None = None
    example: str = ""
    at_least: bool = False
    share: bool = False

    def wrong(self, value: float) -> str:
        """Why nothing can miss ``value`` and what to write; empty if something can."""
        if self.share and value > 1:
            return f"{show(value, '1')} is more than all of it: write e.g. '{min(value, 99):g} %'"
        if self.edge is not None and (value <= self.edge if self.at_least else value >= self.edge):
            return f"{self.why}: write e.g. {self.example!r}"
        return ""


def _reader(dimension: Dimension) -> BeforeValidator:
    return BeforeValidator(lambda value: parse(value, dimension))


def _schema(example: str) -> WithJsonSchema:
    return WithJsonSchema({"type": ["string", "number"], "examples": [example]})


def _day(value: object) -> str:
    """A day as ISO 8601 has it, written as TOML's own date or as text."""
    if isinstance(value, date) and not isinstance(value, datetime):
        return value.isoformat()
    try:
        return date.fromisoformat(value if isinstance(value, str) else "").isoformat()
    except ValueError:
        raise ValueError(f"{str(value)!r} is no day: write e.g. 2026-12-31") from None


def _age(value: object) -> str:
    """An age that stays as it was written: the report's own copy of the policy reads like the policy."""
    if parse(value, Dimension.AGE) <= 0:
        raise ValueError(f"{value!r} is no age: write e.g. '7 days'")
    return str(value)


def _signer(value: object) -> str:
    """A public key as one line of base64, given so or as a PEM."""
    lines = value.split("\n") if isinstance(value, str) else []
    text = "".join("".join(line.split()) for line in lines if not line.strip().startswith("-----"))
    if P256.fullmatch(text) is None:
        raise ValueError("no public key of ECDSA P-256: give the PEM that openssl pkey -pubout prints")
    return text


ANY_AGE = Reach("nothing is ten years old, so nothing is too old", 3650 * 86400.0, "7 days")
"""Of everything that may be so and so old."""
P256 = re.compile(r"MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE[A-Za-z0-9+/]{86}==")
"""A SubjectPublicKeyInfo (RFC 5480) of an uncompressed point on P-256, in base64: its head is always the same."""

Seconds = Annotated[float, _reader(Dimension.TIME), _schema("5 ms")]
Bytes = Annotated[float, _reader(Dimension.MEMORY), _schema("512 MiB")]
Fraction = Annotated[float, _reader(Dimension.FRACTION), _schema("1 %")]
Celsius = Annotated[float, _reader(Dimension.TEMPERATURE), _schema("65 °C")]
Energy = Annotated[float, _reader(Dimension.ENERGY), _schema("50 mJ")]
Rate = Annotated[float, _reader(Dimension.RATE), _schema("30 fps")]
Age = Annotated[float, _reader(Dimension.AGE), _schema("90 days"), ANY_AGE]
AgeText = Annotated[str, BeforeValidator(_age), WithJsonSchema({"type": "string", "examples": ["7 days"]}), ANY_AGE]
Signer = Annotated[str, BeforeValidator(_signer), WithJsonSchema({"type": "string", "pattern": P256.pattern})]
Declared = Literal["power_mode", "clocks", "gpu_clients", "start_below", "free_memory", "reserve_memory"]
Day = Annotated[str, BeforeValidator(_day), WithJsonSchema({"type": "string", "examples": ["2026-12-31"]})]
Positive = Annotated[int, Field(ge=1)]
# Bounded because translating a shell pattern takes time quadratic in its unclosed brackets.
Pattern = Annotated[str, Field(max_length=200)]


class Table(BaseModel):
    """A table of ``hil.toml``: an unknown key is an error, never ignored."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, strict=True)


class StatedTable(Table):
    """What somebody decided: why, who, when, and until when it holds (that day included)."""

    reason: str | None = None
    by: str | None = None
    date: Day | None = None
    expires: Day | None = None

    @property
    def why(self) -> str | None:
        """``reason (by, date)``, as far as it is written."""
        who = ", ".join(filter(None, (self.by, self.date)))
        return " ".join(filter(None, (self.reason, f"({who})" if who else ""))) or None
