from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import hil.plugins.activation
from hil.plugins.activation import _is_copy

if TYPE_CHECKING:
    import pytest

SUITES = Path(hil.plugins.activation.__file__).parent.parent / "suites"


def test_a_clone_beside_its_wheel_has_the_suites_already(tmp_path: Path, pytestconfig: pytest.Config) -> None:
    """A copy of the stock suites is recognised by its content; a project's own tests are not a copy."""
    assert _is_copy(SUITES, pytestconfig.rootpath / "suites")
    (tmp_path / "test_contract.py").write_text("def test_ours() -> None: ...\n")
    assert not _is_copy(SUITES, tmp_path)
    assert not _is_copy(SUITES, tmp_path / "nowhere")
