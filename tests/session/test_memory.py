"""The soak that memory checks share."""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from hil.config.fields import SoakLength
from hil.config.load import load
from hil.plan import expand
from hil.session import Session

if TYPE_CHECKING:
    from tests.session.conftest import MakesRequests


@pytest.mark.parametrize(("limit", "inferences"), [("64 MiB", 200), ("1 B", 400)])
def test_a_default_soak_that_did_not_pass_is_repeated_for_longer(
    make_request: MakesRequests, monkeypatch: pytest.MonkeyPatch, limit: str, inferences: int
) -> None:
    """Only a soak whose growth did not pass is repeated, once and for longer."""
    length = SoakLength(200, 60.0, 100, longest=120.0)
    monkeypatch.setattr(SoakLength, "of", lambda _: length)
    monkeypatch.setattr(SoakLength, "settling", lambda self, _needed: self)
    request = make_request()
    path = request.config.path
    path.write_text(path.read_text().replace("[models.toy.limits]", f'[models.toy.limits]\nmemory_growth = "{limit}"'))
    request = replace(request, config=load(path))
    growth = next(one for one in expand(request.config, "cpu").rows if one.id == "memory.growth")
    with closing(Session.open(request)) as session:
        assert session.judge(growth).result.details["inferences"] == inferences
