"""Energy through a session: planned only with a limit, and not run where the board's power cannot be read."""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from hil.config.load import load
from hil.config.spec import MeasureSpec
from hil.errors import Unsupported
from hil.plan import expand
from hil.results import Cause, Limit, Row, Sense, Verdict
from hil.series import Series, digest_of
from hil.session import Session
from hil.session.gather import energy, timing
from tests.checks.test_energy import noisy, series, window

if TYPE_CHECKING:
    from tests.session.conftest import MakesRequests

LIMIT = Limit(value=0.2, unit="J", sense=Sense.AT_MOST, source="hil.toml:1 energy")
ROW = Row(id="energy.inference", model="toy", precision="fp32", scenario="saturated", required=True, limit=LIMIT)


def session_with(measured: Series) -> Any:
    """Return the part of a session that gathering needs, with this series."""
    return SimpleNamespace(
        samples=SimpleNamespace(once=lambda _name, _measure: measured),
        config=SimpleNamespace(spec=SimpleNamespace(measure=MeasureSpec())),
        used="bench",
    )


def test_energy_is_planned_only_with_a_limit(make_request: MakesRequests) -> None:
    """Without a limit there is no energy row; with one it is judged, and not run where no meter is known."""
    request = make_request()
    assert not expand(request.config, "cpu").of("energy.inference")
    path = request.config.path
    text = path.read_text()
    path.write_text(text.replace("[models.toy.limits]", '[models.toy.limits]\nenergy = "50 mJ"', 1))
    assert path.read_text() != text
    request = replace(request, config=load(path))
    (row,) = expand(request.config, "cpu").of("energy.inference")
    assert row.limit is not None
    assert (row.limit.value, row.limit.unit) == (0.05, "J")
    with closing(Session.open(request)) as session:
        result = session.judge(row).result
        latency = session.judge(expand(request.config, "cpu").of("latency.p50")[0]).result
    if result.cause is None:
        pytest.skip("this machine's power can be read")
    assert (result.verdict, result.cause) == (Verdict.NOT_RUN, Cause.UNSUPPORTED)
    assert "no known meter measures the board's power: on target 'cpu'" in result.reason
    assert result.measurement is None
    assert "energy" not in latency.details


def test_power_becomes_joules() -> None:
    """The row has a value in joules, and its method names the rail."""
    measured = series([window(noisy(100))])
    gathered = energy.inference(session_with(measured), ROW)
    assert gathered.judgement.verdict is Verdict.PASSED
    assert gathered.judgement.measurement is not None
    assert gathered.judgement.measurement.value == pytest.approx(0.1, rel=0.02)
    assert gathered.judgement.measurement.method == digest_of(dict(gathered.method))
    assert gathered.method["power"] == "VDD_IN"


def test_unreadable_power_is_unsupported() -> None:
    """Unreadable power makes the row unsupported, with the telemetry's reason, the target and what to do."""
    facts = {**window(noisy(100)), "not_readable": {"power.total": "the rail GPU cannot be read"}}
    del facts["power.total"]
    base = series([window(noisy(100))])
    with pytest.raises(Unsupported, match=r"the rail GPU cannot be read: on target 'bench': remove limits\.energy"):
        energy.inference(session_with(replace(base, facts={"windows": [facts]})), ROW)


def test_a_joined_series_records_the_size_of_each_window() -> None:
    """Each window records its number of inferences, so that its power is matched with its own time."""
    parts = [
        Series(np.arange(n, dtype=np.float64) * np.float64(0.01) + begin, np.full(n, 0.01), 1, {}, {"t": [begin]})
        for n, begin in ((50, 1.0), (70, 9.0))
    ]
    joined = timing._joined(parts, {})  # noqa: SLF001 - what the gatherer hands to the check
    assert [window["n"] for window in joined.facts["windows"]] == [50, 70]
