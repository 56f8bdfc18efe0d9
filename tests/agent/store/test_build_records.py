"""Keys, records and the agent's part of a build, with a real agent wherever no GPU is needed."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from hil.agent.failure import Failure
from hil.agent.store import build_inputs
from hil.agent.store.blobs import Store
from hil.agent.store.build_records import Records, key_facts, key_of
from hil.errors import EngineBuildError, LabError, Unsupported
from tests.agent import models

if TYPE_CHECKING:
    from hil.targets.client import AgentClient

DIGEST = "a" * 64
LIBRARIES: dict[str, Any] = {
    "runtimes": {"tensorrt": "8.6.0", "onnxruntime": "1"},
    "facts": {"tensorrt": {"cuda": "12.2", "gpu": "Orin", "sm": "8.7", "sms": "16", "dla": "2"}},
    "gpus": [
        {"number": 0, "name": "Orin", "sm": "8.7", "sms": 16},
        {"number": 1, "name": "A2", "sm": "8.6", "sms": 10},
    ],
}


def request_of(**changes: Any) -> dict[str, Any]:
    """Return a build request."""
    return {"model": DIGEST, "precision": "fp16", "runtime": "tensorrt", "options": {}, **changes}


def test_every_fact_is_in_the_key() -> None:
    """A different TensorRT, GPU, architecture, number of multiprocessors, driver or option gives a different key."""
    keys = {key_of(key_facts(request_of(), LIBRARIES, None))}
    for name in ("cuda", "gpu", "sm", "sms", "dla"):
        libraries = json.loads(json.dumps(LIBRARIES))
        libraries["facts"]["tensorrt"][name] = "other"
        keys.add(key_of(key_facts(request_of(), libraries, None)))
    newer = {**LIBRARIES, "runtimes": {"tensorrt": "8.6.1"}}
    keys.add(key_of(key_facts(request_of(), newer, None)))
    keys.add(key_of(key_facts(request_of(), LIBRARIES, "R36")))
    for options in ({"workspace": 1}, {"dla": 0}, {"plugins": [DIGEST]}, {"calibration": "x"}, {"gpu": 1}):
        keys.add(key_of(key_facts(request_of(options=options), LIBRARIES, None)))
    assert len(keys) == 13


def test_the_key_is_of_the_requested_gpu() -> None:
    """The facts are those of the requested GPU; for a GPU that does not exist they are null."""
    second = key_facts(request_of(options={"gpu": 1}), LIBRARIES, None)
    assert (second["gpu"], second["sm"], second["sms"]) == ("A2", "8.6", "10")
    assert key_facts(request_of(options={"gpu": 7}), LIBRARIES, None)["gpu"] is None


def put(store: Store, data: bytes) -> str:
    """Store a blob and return its digest."""
    path = Path(store.path("tmp", "x"))
    path.write_bytes(data)
    return store.adopt(str(path))


def test_digests_become_paths(tmp_path: Path) -> None:
    """Digests of plugins and data become paths of blobs in use; other options or another TensorRT give other caches."""
    store = Store(str(tmp_path))
    plugin, data = put(store, b"plugin"), put(store, b"data")
    store.used.clear()
    implicit = {"algorithm": "entropy2", "batch": 1, "samples": 1, "data": {"x": data}}
    options = {"plugins": [plugin], "implicit": implicit, "calibration": "k"}

    def paths_of(options: dict[str, Any], libraries: dict[str, Any] = LIBRARIES) -> Any:
        request = request_of(options=options)
        return build_inputs.for_build(store, request, key_facts(request, libraries, None))["paths"]

    paths = paths_of(options)
    assert paths["plugins"] == [store.blob(plugin)]
    assert paths["data"] == {"x": store.blob(data)}
    assert store.used == {plugin, data}
    changed = [
        paths_of({**options, "implicit": {**implicit, **change}}) for change in ({"algorithm": "minmax"}, {"batch": 2})
    ]
    changed.append(paths_of({**options, "plugins": []}))
    newer = paths_of(options, {**LIBRARIES, "runtimes": {"tensorrt": "8.6.1"}})
    assert newer["timing_cache"] != paths["timing_cache"]
    cache_paths = {prepared["calibration_cache"] for prepared in (paths, *changed, newer)}
    assert len(cache_paths) == 5


def test_a_plugin_changed_on_disk_is_not_loaded(tmp_path: Path) -> None:
    """A plugin is hashed before each build and load; a changed one is deleted."""

    def for_build(store: Store, request: Any, _record: Any) -> None:
        build_inputs.for_build(store, request, key_facts(request, LIBRARIES, None))

    def for_load(store: Store, _request: Any, record: Any) -> None:
        build_inputs.for_load(store, {"options": {}}, record)

    for prepare in (for_build, for_load):
        store = Store(str(tmp_path / prepare.__name__))
        plugin = put(store, b"plugin")
        Path(store.blob(plugin)).write_bytes(b"another")
        request = request_of(options={"plugins": [plugin]})
        record = {"plugins": [plugin], "facts": {"options": {}}}
        with pytest.raises(Failure, match="damaged"):
            prepare(store, request, record)
        assert not Path(store.blob(plugin)).exists()


def test_a_load_uses_the_options_of_the_build(tmp_path: Path) -> None:
    """A load takes the plugins, in order, and the DLA core from the build's record, whatever the host requests."""
    store = Store(str(tmp_path))
    digests = [put(store, data) for data in (b"b", b"a")]
    record = {"plugins": digests, "facts": {"options": {"dla": 1}}}
    options = build_inputs.for_load(store, {"options": {"gpu": 0, "dla": 0}}, record)
    assert options == {"gpu": 0, "dla": 1, "paths": {"plugins": [store.blob(digest) for digest in digests]}}
    foreign = {"facts": {"options": {}, "foreign": True}}
    assert build_inputs.for_load(store, {"options": {}}, foreign) == {"foreign": True}


def test_the_host_cannot_set_paths(tmp_path: Path) -> None:
    """A request that sets file paths is refused, so that the worker uses only files of the store."""
    request = request_of(options={"paths": {"timing_cache": "/etc/passwd"}})
    with pytest.raises(Failure, match="only the agent sets paths"):
        build_inputs.for_build(Store(str(tmp_path)), request, key_facts(request, LIBRARIES, None))
    with pytest.raises(Failure, match="only the agent sets paths"):
        build_inputs.for_load(Store(str(tmp_path)), request, {"plugins": [], "facts": {"options": {}}})


def test_a_build_is_described_in_its_record(tmp_path: Path) -> None:
    """``about``, ``peak`` and the power mode are recorded, but are not part of the key."""
    store = Store(str(tmp_path))
    facts = key_facts(request_of(), LIBRARIES, None)
    built = {"seconds": 1.0, "log": "", "about": {"timing_cache": "warm"}, "peak": {"rss": 7}}
    Records(store).write(key_of(facts), facts, put(store, b"plan"), built)
    record = Records(store).need(key_of(facts))
    assert (record["about"], record["peak"], record["plugins"]) == ({"timing_cache": "warm"}, {"rss": 7}, [])
    (tmp_path / "status").write_text("pmode:0002\n")
    assert build_inputs.power_mode(str(tmp_path / "status")) == "pmode:0002"
    assert build_inputs.power_mode(str(tmp_path / "gone")) is None


def test_a_foreign_engine_is_not_used_for_a_build(shared_agent: AgentClient, model: Path) -> None:
    """An adopted engine is marked foreign and loads by its own key; a build of the same file makes another engine."""
    digest = shared_agent.put_blob(model)
    foreign = shared_agent.adopt(digest, "fp32", "onnxruntime", {})
    assert foreign.facts["foreign"] is True
    built = shared_agent.build(digest, "fp32", "onnxruntime", {}, 60)
    assert not built.cached
    assert built.key != foreign.key
    assert "foreign" not in built.facts
    with shared_agent.load(foreign.key, {}, 60, fresh=False) as worker:
        assert dict(worker.run({"x": np.zeros((1, 4), np.float32)}))["y"].shape == (1, 3)
    with pytest.raises(LabError, match="not in the store"):
        shared_agent.adopt(DIGEST, "fp32", "onnxruntime", {})


def test_a_foreign_record_under_a_builds_key_is_ignored(shared_agent: AgentClient, model: Path) -> None:
    """A foreign record that lost its mark and was renamed to a build's key is not returned by that build."""
    digest = shared_agent.put_blob(model)
    foreign = shared_agent.adopt(digest, "fp32", "onnxruntime", {})
    own = key_of({name: value for name, value in foreign.facts.items() if name != "foreign"})
    record = json.loads((Path(shared_agent.hello["store"]) / "engines" / f"{foreign.key}.json").read_text())
    del record["facts"]["foreign"]
    (Path(shared_agent.hello["store"]) / "engines" / f"{own}.json").write_text(json.dumps(record))
    assert not shared_agent.build(digest, "fp32", "onnxruntime", {}, 60).cached


def test_a_damaged_engine_is_built_again_at_once(shared_agent: AgentClient, model: Path) -> None:
    """A damaged engine is deleted and rebuilt by the same request, which reports the damage."""
    digest = shared_agent.put_blob(model)
    built = shared_agent.build(digest, "fp32", "onnxruntime", {}, 60)
    compiled = shared_agent.put_blob(models.tiny_qdq(model.parent / "other.onnx"))
    record_path = Path(shared_agent.hello["store"]) / "engines" / f"{built.key}.json"
    record_path.write_text(json.dumps(dict(json.loads(record_path.read_text()), digest=compiled)))
    assert shared_agent.build(digest, "fp32", "onnxruntime", {}, 60).digest == compiled
    os.truncate(Path(shared_agent.hello["store"]) / "blobs" / compiled, 5)
    again = shared_agent.build(digest, "fp32", "onnxruntime", {}, 60)
    assert (again.cached, again.digest) == (False, digest)
    assert "was damaged in the store" in again.about["rebuilt"]
    assert not (Path(shared_agent.hello["store"]) / "blobs" / compiled).exists()
    assert shared_agent.build(digest, "fp32", "onnxruntime", {}, 60).cached


def test_a_build_that_takes_too_long_names_the_limit(shared_agent: AgentClient, model: Path) -> None:
    """A build that exceeds its time limit names the key of hil.toml that raises it, and the next build works."""
    digest = shared_agent.put_blob(model)
    shared_agent.probe()
    with pytest.raises(EngineBuildError, match=r"longer than 0\.01 s and was stopped.*raise time_limit"):
        shared_agent.build(digest, "fp32", "onnxruntime", {}, 0.01)
    assert not shared_agent.build(digest, "fp32", "onnxruntime", {}, 60).cached


def test_without_tensorrt_a_build_is_unsupported(shared_agent: AgentClient, model: Path) -> None:
    """If TensorRT cannot be imported, a build is refused with the interpreter and the error of the import."""
    with pytest.raises(Unsupported, match=r"tensorrt cannot be imported by \S+python\S*: ModuleNotFoundError"):
        shared_agent.build(shared_agent.put_blob(model), "fp16", "tensorrt", {}, 60)
