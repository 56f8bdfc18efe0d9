from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, cast

from hil.cli.views.built import commands
from hil.session.engines.provision import Provisioned
from hil.targets.answers import BuiltEngine

if TYPE_CHECKING:
    from pathlib import Path

    from hil.session import Session


def test_foreign_engines_have_no_command(tmp_path: Path) -> None:
    """No build command is shown for a foreign engine, because how it was built is unknown."""
    # Of the session only the runtime's name is read.
    session = cast("Session", SimpleNamespace(spec=SimpleNamespace(runtime="tensorrt")))
    engine = BuiltEngine(
        "k", "d", 1, 0.0, cached=False, runtime="tensorrt", runtime_version="8.6.0", log="", facts={"foreign": True}
    )
    made = {"fp16": Provisioned(engine, tmp_path / "model.onnx", None, "engines/model.plan")}
    assert list(commands(session, "model", made)) == []
