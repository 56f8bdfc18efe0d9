"""Define the types of values in ``hil.toml``: quantities in base units, literals, dates and public keys."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from datetime import date, datetime
from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema

from hil.units import Dimension, parse, show

Precision = Literal["fp32", "tf32", "fp16", "bf16", "int8", "fp8", "fp4", "int4"]
PRECISIONS: tuple[Precision, ...] = ("fp32", "tf32", "fp16", "bf16", "int8", "fp8", "fp4", "int4")
BROUGHT: tuple[Precision, ...] = ("fp8", "fp4", "int4")
"""The precisions for which hil has no quantizer: the user brings the quantized ONNX file, as ``deployed``."""


@dataclass(frozen=True)
class Reach:
    """Which limits of a quantity are refused, because every model meets them.

    Attributes:
        why: why every model meets these limits; if ``edge`` is ``None``, why a model can miss any limit.
        edge: this limit and any looser one are refused; ``None`` if no limit is refused for being loose.
        example: a limit that a model can miss.
        at_least: whether a lower limit is looser; otherwise a higher one is.
        share: whether a limit above 1 is refused too.
    """

    why: str
    edge: float | None = None
    example: str = ""
    at_least: bool = False
    share: bool = False

    def wrong(self, value: float) -> str:
        """Return why the limit ``value`` is refused and what to write instead; an empty text if it is accepted."""
        if self.share and value > 1:
            return f"{show(value, '1')} is more than 100 %: write e.g. '{min(value, 99):g} %'"
        if self.edge is not None and (value <= self.edge if self.at_least else value >= self.edge):
            return f"{self.why}: write e.g. {self.example!r}"
        return ""


def _reader(dimension: Dimension) -> BeforeValidator:
    return BeforeValidator(lambda value: parse(value, dimension))


def _schema(example: str) -> WithJsonSchema:
    return WithJsonSchema({"type": ["string", "number"], "examples": [example]})


def _day(value: object) -> str:
    """Return a date as ISO 8601 text, from a TOML date or from text. Raise ``ValueError`` for anything else."""
    if isinstance(value, date) and not isinstance(value, datetime):
        return value.isoformat()
    try:
        return date.fromisoformat(value if isinstance(value, str) else "").isoformat()
    except ValueError:
        raise ValueError(f"{str(value)!r} is not a date: write e.g. 2026-12-31") from None


def _age(value: object) -> str:
    """Return an age exactly as it is written, such as ``7 days``. Raise ``ValueError`` unless it is more than 0."""
    if parse(value, Dimension.AGE) <= 0:
        raise ValueError(f"{value!r} is not an age: write e.g. '7 days'")
    return str(value)


def _signer(value: object) -> str:
    """Return a public key as one line of base64, from such a line or a PEM. Raise ``ValueError`` for other text."""
    lines = value.split("\n") if isinstance(value, str) else []
    text = "".join("".join(line.split()) for line in lines if not line.strip().startswith("-----"))
    if P256.fullmatch(text) is None:
        raise ValueError("not a public key of ECDSA P-256: give the PEM that openssl pkey -pubout prints")
    return text


UNLIMITED = 10**12
"""A number of inferences that no soak reaches."""
SOAK_FEWEST = 100
"""The fewest inferences of a soak: with fewer, no leak that matters is visible."""


def _soak(value: object) -> int | float:
    """Return a number of inferences as an ``int``, or a time, such as ``20 s``, in seconds as a ``float``.

    Raise ``ValueError`` for fewer than ``SOAK_FEWEST`` inferences and for any other value.
    """
    if isinstance(value, int) and not isinstance(value, bool):
        if value < SOAK_FEWEST:
            least = f"write at least {SOAK_FEWEST}, or a time such as '20 s'"
            raise ValueError(f"{value} inferences are too few to show a leak: {least}")
        return value
    seconds = parse(value, Dimension.TIME) if isinstance(value, str) else 0.0
    if seconds <= 0:
        raise ValueError(f"{value!r} is neither a number of inferences nor a time: write e.g. 2000 or '20 s'")
    return seconds


@dataclass(frozen=True)
class SoakLength:
    """How long memory is observed: until ``most`` inferences or ``seconds``, but for at least ``fewest`` inferences.

    With the default length, the observation continues after ``seconds`` until ``settled`` inferences are done, if that
    takes at most ``longest`` seconds in all. If the growth of the memory did not pass, the observation may be repeated
    once (``repeated``). In other lengths, ``settled`` and ``longest`` are 0.
    """

    most: int
    seconds: float | None
    fewest: int
    settled: int = 0
    longest: float = 0.0

    @classmethod
    def of(cls, soak: float | None) -> SoakLength:
        """Return the length for a value of ``[measure] soak``.

        An ``int`` is a number of inferences, a ``float`` a time in seconds, and ``None`` stands for the default length.
        """
        if soak is None:
            return cls(2000, 20.0, SOAK_FEWEST, longest=60.0)
        return cls(soak, None, soak) if isinstance(soak, int) else cls(UNLIMITED, soak, SOAK_FEWEST)

    def settling(self, needed: int) -> SoakLength:
        """Return the length for a limit that ``needed`` inferences decide. Only the default length is changed."""
        return replace(self, most=max(self.most, needed), settled=needed) if self.longest else self

    def repeated(self) -> SoakLength:
        """Return the length of the repetition: ``longest`` seconds, and proportionally more inferences.

        Only the default length is repeated.
        """
        assert self.seconds is not None  # noqa: S101 - the default has a time; for the type checker
        return replace(self, most=round(self.most * self.longest / self.seconds), seconds=self.longest)

    def __str__(self) -> str:
        """Return the length as text, ``2,000 inferences or 20 s``."""
        parts = [f"{self.most:,} inferences" if self.most < UNLIMITED else ""]
        parts.append("" if self.seconds is None else show(self.seconds, "s"))
        return " or ".join(filter(None, parts))

    def method(self) -> int | dict[str, float]:
        """Return the length for a measurement's method: a number of inferences, or a rule if it has a time."""
        if self.seconds is None:
            return self.most
        rule: dict[str, float] = {"seconds": self.seconds, "at_least": self.fewest}
        if self.longest:
            rule["seconds_to_settle_the_limit"] = self.longest
        return rule | ({"inferences": self.most} if self.most < UNLIMITED else {})


@dataclass(frozen=True)
class Draws:
    """How many batches are drawn: ``most``, or as many as ``seconds`` allow, but at least ``fewest``."""

    most: int = 50
    fewest: int = 20
    seconds: float | None = 10.0

    def method(self) -> int | dict[str, float]:
        """Return the draws for a measurement's method: a number of batches, or their rule if it has a time."""
        if self.seconds is None:
            return self.most
        return {"most": self.most, "at_least": self.fewest, "seconds": self.seconds}


ANY_AGE = Reach("nothing is older than ten years, so every age would pass", 3650 * 86400.0, "7 days")
"""The ``Reach`` of every maximum age."""
P256 = re.compile(r"MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE[A-Za-z0-9+/]{86}==")
"""A SubjectPublicKeyInfo (RFC 5480) of an uncompressed point on P-256, in base64; its beginning is constant."""

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
Soak = Annotated[
    int | float,
    BeforeValidator(_soak),
    WithJsonSchema({"type": ["integer", "string"], "minimum": SOAK_FEWEST, "examples": [2000, "20 s"]}),
]
# Bounded because translating a shell pattern takes time quadratic in its unclosed brackets.
Pattern = Annotated[str, Field(max_length=200)]


class Table(BaseModel):
    """A table of ``hil.toml``; an unknown key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, strict=True)


class StatedTable(Table):
    """A table that records a decision: the reason, who made it, its date, and the last day on which it applies."""

    reason: str | None = None
    by: str | None = None
    date: Day | None = None
    expires: Day | None = None

    @property
    def why(self) -> str | None:
        """Return ``reason (by, date)`` without missing parts; ``None`` if all three are missing."""
        who = ", ".join(filter(None, (self.by, self.date)))
        return " ".join(filter(None, (self.reason, f"({who})" if who else ""))) or None
