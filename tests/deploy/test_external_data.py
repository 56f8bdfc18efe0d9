"""An engine's external data is deployed with the engine and verified by its digest."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from hil.deploy import refusals, release
from hil.deploy.report_check import _of_external
from hil.errors import DeployRefused
from hil.files.digests import file_digest
from hil.onnx_files.external_data import addressed, external_files
from hil.report.schema import EngineUsed, ExternalData
from tests.models import convnet, externalize

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def engine(tmp_path: Path) -> EngineUsed:
    """An ONNX engine with external weights, in a report's folder."""
    model = convnet(tmp_path / "m.onnx")
    externalize(model)
    whole = addressed(model, tmp_path / "cache")
    (tmp_path / "engines").mkdir()
    for file in whole.parent.iterdir():
        file.rename(tmp_path / "engines" / file.name)
    place = tmp_path / "engines/m.onnx"
    external = [
        ExternalData(file=f"engines/{file.location}", digest=file.location, size=file.path.stat().st_size)
        for file in external_files(place)
    ]
    return EngineUsed(
        model="m",
        precision="fp32",
        runtime="onnxruntime",
        runtime_version="1",
        digest=file_digest(place),
        key="k",
        size=place.stat().st_size,
        file="engines/m.onnx",
        build_seconds=0,
        cached=False,
        external=tuple(external),
    )


def _problems(engine: EngineUsed, folder: Path) -> list[str]:
    files = release.engine_files(folder, [engine])
    problems = list(refusals.of_files([engine], {name: file_digest(place) for name, place in files.items()}))
    return problems or list(_of_external([engine], files))


def test_external_data_is_verified_by_its_digest(engine: EngineUsed, tmp_path: Path) -> None:
    """An engine with changed or missing weights is refused."""
    assert _problems(engine, tmp_path) == []
    weights = tmp_path / engine.external[0].file
    weights.write_bytes(bytes(engine.external[0].size))
    assert [problem.split(" has ")[0] for problem in _problems(engine, tmp_path)] == [f"{engine.external[0].file}:"]
    weights.unlink()
    assert _problems(engine, tmp_path) == [f"{engine.external[0].file}: is missing"]


def test_a_report_that_omits_external_data(engine: EngineUsed, tmp_path: Path) -> None:
    """An engine's external data is required as in its ONNX file, even if the report omits it."""
    bare = engine.model_copy(update={"external": ()})
    assert "are not those that the report lists" in _problems(bare, tmp_path)[0]


def test_external_data_outside_of_the_report(engine: EngineUsed, tmp_path: Path) -> None:
    """External data outside of the report's folder is refused, like an engine there."""
    (tmp_path.parent / "w.bin").write_bytes(b"w")
    outside = ExternalData(file="../w.bin", digest="0" * 64, size=1)
    with pytest.raises(DeployRefused, match="is outside of"):
        release.engine_files(tmp_path, [engine.model_copy(update={"external": (outside,)})])


def test_a_release_has_external_data_next_to_its_engine(engine: EngineUsed, tmp_path: Path) -> None:
    """The manifest lists the path that the engine uses, and the digest that the robot verifies."""
    [data] = engine.external
    external = [{"path": path, "sha256": file.digest} for path, file in release.external_paths(engine).items()]
    listed = {"path": "engines/m-fp32.onnx", "sha256": engine.digest, "external": external}
    facts = {"schema": 1, "engines": [listed]}
    files = release.engine_files(tmp_path, [engine])
    engines = {"engines/m-fp32.onnx": files["engines/m.onnx"]}
    engines |= {path: files[file.file] for path, file in release.external_paths(engine).items()}
    (tmp_path / "made").mkdir()
    made = release.build(facts, engines, {}, tmp_path / "made")
    listed = {file["path"]: (file["sha256"], file["size"]) for file in json.loads(made.manifest)["files"]}
    assert listed[f"engines/{data.digest}"] == (data.digest, data.size)
