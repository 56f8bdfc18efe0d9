"""URLs of a history: the password is never shown, in any form of URL."""

from __future__ import annotations

import traceback
from pathlib import Path
from urllib.parse import quote, quote_plus
from uuid import uuid4

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from hil.errors import HilError
from hil.history import open_history
from hil.history.database_errors import database_errors
from hil.history.urls import NOT_SHOWN, place_of, shown_arguments, shown_url

HERE = Path("/nowhere")
OURS = "postgresql+psycopg"
SHAPES = (
    OURS + "://hil:{}@db.lab/runs",
    OURS + "://hil@corp:{}@db.lab/runs",
    OURS + "://hil:{}@db.lab:5432/runs?connect_timeout=10",
    OURS + "://:{}@[::1]:5432/runs",
    OURS + "://{}@db.lab/runs",
    OURS + "://db.lab/runs?user=hil&password={}",
    OURS + "://db.lab/runs?sslmode=require&sslpassword={}&sslkey=a",
    OURS + "://hil:x@db.lab/runs?password={}",
    "postgres//hil:{}@db.lab/runs",
    "postgresql:hil:{}@db.lab/runs",
    "  postgresql://hil:{}@db.lab/runs ",
    "postgresql://hil:{}@db.lab:notaport/runs",
    "mysql+pymysql://hil:{}@db.lab/runs",
    "sqlite+pysqlcipher://:{}@/runs.db",
    "sqlite:////hil:{}@db.lab/runs",
    "sqlite:///runs.db?password={}",
    "host=db.lab user=hil password={}",
    "{}",
)
WRITTEN = (str, quote, quote_plus)
PASSWORDS = st.text(st.characters(codec="utf-8"), min_size=5, max_size=20) | st.from_regex(
    r"[a-z]{4}[@:/?#%&= +.\[\]'\\]{1,3}[a-z]{4}", fullmatch=True
)


def shown(url: str) -> str:
    """Return everything that is shown of ``url``: place, name, error, and a driver's message."""
    parts = [shown_url(url), *shown_arguments(["-q", f"--hil-history={url}", "--hil-history", url])]
    try:
        place = place_of(url, HERE)
        parts += [place.name, repr(place), place.hide(f'FATAL: bad value "{url}"'), place.hide(f"connection to {url}")]
        with database_errors(place):
            raise ValueError(f"invalid literal {url!r}")  # noqa: TRY301 - as a driver does inside
    except HilError as error:
        parts += ["".join(traceback.format_exception(error))]
    except ValueError:
        pass  # a file's path is not a secret
    return "\n".join(parts)


@given(PASSWORDS, st.sampled_from(SHAPES), st.sampled_from(WRITTEN))
@example("p@ss:w/rd", SHAPES[0], str)
@example("with some spaces", SHAPES[1], str)
@example("corp:pw@host", SHAPES[0], quote)
def test_a_password_is_never_shown(password: str, shape: str, way: object) -> None:
    """No password is shown, in any form of URL, including URLs that cannot be parsed."""
    forms = {password, *(each(password) for each in WRITTEN), repr(password)[1:-1]}
    baseline = shown(shape.format("another"))
    assume(password.strip() and not any(form in baseline for form in forms))
    text = shown(shape.format(way(password)))  # type: ignore[operator] # one of WRITTEN
    for form in forms:
        assert form not in text


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("postgresql+psycopg://hil@corp:pw@db.lab:5432/runs", "postgresql+psycopg://db.lab/runs"),
        ("postgresql://hil:two words@db.lab/runs?password=x", "postgresql://db.lab/runs"),
        ("postgresql://[::1]:5432/runs", "postgresql://[::1]/runs"),
        ("postgresql://hil:p/w@db.lab/runs", NOT_SHOWN),
        ("postgres//hil:pw@db.lab/runs", NOT_SHOWN),
        ("sqlite:///.hil/history.db", "sqlite:///.hil/history.db"),
    ],
)
def test_driver_host_and_database_are_shown(url: str, expected: str) -> None:
    """Driver, host and database are shown, unless they cannot be distinguished from a password."""
    assert shown_url(url) == expected


def test_arguments_without_a_secret_are_unchanged() -> None:
    """Only arguments that may be a secret are replaced."""
    plain = ("-k", "test_tokenizer or a::b", "tests/test_x.py::test_y[a@b]", "--hil-history=none", "--target=cpu")
    assert shown_arguments(plain) == plain
    assert shown_arguments(
        ["-o", "password=abc def", "--url=https://u:pw@host/x", "-----BEGIN PRIVATE KEY-----ab"]
    ) == (*("-o", f"password={NOT_SHOWN}", "--url=https://host/x", NOT_SHOWN),)


def test_a_driver_that_repeats_the_password() -> None:
    """If SQLAlchemy or psycopg refuses a URL, the user gets one message without the password."""
    secret = uuid4().hex  # not a literal, because a traceback shows the source
    for query in ("connect_timeout={}", "{}=1&password={}", "port={}", "options={}", "host={}"):
        url = "://hil:{}@127.0.0.1:1/runs?" + query
        with pytest.raises(HilError) as caught:
            open_history(OURS + url.replace("{}", secret), base=HERE)
        assert secret not in "".join(traceback.format_exception(caught.value))
        assert "127.0.0.1/runs" in str(caught.value)
