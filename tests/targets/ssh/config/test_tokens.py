from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hil.targets.ssh.config.tokens import expanded

VALUES = {"h": "ten%p", "p": "22", "n": "${X}", "k": "%%"}
PARTS = st.lists(st.one_of(st.sampled_from(["%h", "%p", "%n", "%k", "%%"]), st.text("ab/$ {}~", max_size=3)))


@given(PARTS)
def test_each_token_is_replaced_once(parts: list[str]) -> None:
    """Each token is replaced once, and nothing in its value is expanded."""
    text = "".join(parts)
    replaced = "".join("%" if part == "%%" else VALUES[part[1]] if part.startswith("%") else part for part in parts)
    assert expanded(text, VALUES, variables=False) == replaced


def test_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    """``${NAME}`` becomes the environment's value, which is not expanded again; a single dollar sign stays."""
    monkeypatch.setenv("HIL_X", "%h${HIL_X}")
    assert expanded("$a/${HIL_X}/%p$", VALUES) == "$a/%h${HIL_X}/22$"


@pytest.mark.parametrize("text", ["%q", "%", "a%", "${HIL_NO}", "${HIL_NO", "${}"])
def test_what_cannot_be_expanded_is_refused(text: str) -> None:
    """An unknown token or variable is an error."""
    with pytest.raises(ValueError, match="has"):
        expanded(text, VALUES)
