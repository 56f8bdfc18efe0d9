"""A mistake in the user's own code that scores outputs is found before anything is built."""

from __future__ import annotations

from contextlib import nullcontext
from typing import TYPE_CHECKING

import pytest

from hil.config.load import load
from hil.errors import UserError
from hil.session.preflight import preflight

if TYPE_CHECKING:
    from tests.session.conftest import MakesRequests

SCORER = """
def good(outputs, labels):
    return outputs["scores"].argmax(axis=1) == labels[""]

def whole(outputs, labels):
    return outputs["scores"]

def raises(outputs, labels):
    return labels["scores"]
"""


def test_code_that_cannot_score_is_refused(make_request: MakesRequests) -> None:
    """It gets the reference's outputs for the first batch; if it raises or gives another shape, the run ends."""
    config = make_request().config
    (config.root / "scorer.py").write_text(SCORER)
    text = config.path.read_text()
    for name, message in (("good", ""), ("whole", "gave scores of shape"), ("raises", "raised KeyError")):
        config.path.write_text(text.replace('task = "classification"', f'task = "scorer:{name}"'))
        expected = pytest.raises(UserError, match=message) if message else nullcontext()
        with expected:
            preflight(load(config.path), "cpu")
