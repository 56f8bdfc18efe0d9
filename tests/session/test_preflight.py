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
    """Scoring code that raises, or returns another shape, for the reference's first outputs ends the run."""
    config = make_request().config
    (config.root / "scorer.py").write_text(SCORER)
    text = config.path.read_text()
    for name, message in (("good", ""), ("whole", "gave scores of shape"), ("raises", "raised KeyError")):
        config.path.write_text(text.replace('task = "classification"', f'task = "scorer:{name}"'))
        expected = pytest.raises(UserError, match=message) if message else nullcontext()
        with expected:
            preflight(load(config.path), "cpu")


KINDS = """
def few(outputs):
    return outputs["scores"][:0]
"""


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ('[models.toy.outputs.score]\nkind = "classification"', "has no output 'score'"),
        ('[models.toy.outputs.scores]\nkind = "classification"\naxis = 3', "axis 3"),
        ('[models.toy.outputs.scores]\nkind = "segmentation"', "has 2 axes"),
        ('[models.toy.outputs.scores]\ndecode = "kinds:few"', "returned 0 answers for"),
        ('[models.toy.outputs.scores]\nkind = "classification"', ""),
    ],
)
def test_a_kind_that_does_not_fit_is_refused(make_request: MakesRequests, table: str, message: str) -> None:
    """An unknown output, an impossible axis or kind, and a decoder with too few answers end the run."""
    config = make_request().config
    (config.root / "kinds.py").write_text(KINDS)
    config.path.write_text(f"{config.path.read_text()}\n{table}\n")
    with pytest.raises(UserError, match=message) if message else nullcontext():
        preflight(load(config.path), "cpu")
