"""An engine of another board is used only on an equal one: any other or unknown fact means a build of its own."""

from __future__ import annotations

from contextlib import closing, nullcontext
from functools import partial
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from hil.agent.store import build_inputs, build_records
from hil.agent.store.blobs import Store
from hil.agent.store.build_records import Records, key_facts, key_of
from hil.agent.workers.engine_builds import EngineBuilds
from hil.config.spec import TargetSpec
from hil.session.engines import equal_boards
from hil.targets.answers import BuiltEngine
from hil.targets.target import open_target
from tests.agent.store.test_build_records import LIBRARIES, put, request_of
from tests.boards.generations import facts_of

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

    from hil.targets.client import AgentClient

MODE = "pmode:0002"


def probed(generation: str = "jp62", runtime: str = "10.3.0", **board: Any) -> dict[str, Any]:
    """Return the facts that a probe of a simulated board reads, with changes of the raw facts of the board."""
    made = facts_of(generation)
    raw = {name: made[name] for name in ("compatible", "serial", "packages")}
    raw["nv_tegra_release"] = made["etc"]["nv_tegra_release"][0]
    raw |= {"memory_total": made["memory_kib"] * 1024, "power_mode": "15W"}
    return {"board": raw | board, "runtimes": {"tensorrt": runtime}}


def test_boards_are_equal_only_if_every_fact_is_known_and_the_same() -> None:
    """Another serial is an equal board; another module, JetPack, TensorRT or power mode, or an unknown one, is not."""
    ours = equal_boards.equal_facts(probed(), "tensorrt")
    assert ours == {"module": "orin-nx-16gb", "jetpack": "6.2", "power_mode": "15W", "runtime": "10.3.0"}
    assert equal_boards.equal_facts(probed(serial="another"), "tensorrt") == ours
    nano = ["nvidia,p3768-0000+p3767-0005-super", "nvidia,p3767-0005", "nvidia,tegra234"]
    older: dict[str, Any] = {"nv_tegra_release": "# R36 (release), REVISION: 3.0", "packages": {}}
    others = [
        probed(compatible=nano, memory_total=8 << 30),
        probed(**older),
        probed(runtime="10.7.0"),
        probed(power_mode="MAXN_SUPER"),
    ]
    for facts in others:
        assert equal_boards.equal_facts(facts, "tensorrt") not in (None, ours), facts
    unknown = [
        probed(compatible=[]),
        probed(nv_tegra_release=None, packages={}),
        probed(power_mode=None),
        {**probed(), "runtimes": {}},
        {"runtimes": {"tensorrt": "10.3.0"}},
    ]
    for facts in unknown:
        assert equal_boards.equal_facts(facts, "tensorrt") is None


class Builds(EngineBuilds):
    """The agent's builds on a board without TensorRT: a build of its own stores the plan ``own``."""

    def __init__(self, store: Store) -> None:
        idle: Any = SimpleNamespace(supervisor=None)
        super().__init__(Records(store), idle, lambda: LIBRARIES, lambda *_: None, nullcontext)

    def _build(self, _request: Any, _model: str, key: str, facts: Any, _damage: str | None) -> dict[str, Any]:
        return self.records.write(key, facts, put(self.store, b"own"), {"seconds": 2.0, "log": ""})


def test_a_board_accepts_only_an_engine_of_its_own_key_and_power_mode(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A different or unknown key, mode or builder, and a lost file, lead to a build; so does a mode changed later."""
    status = tmp_path / "status"
    read = partial(build_inputs.power_mode, str(status))
    for module in (build_inputs, build_records):
        monkeypatch.setattr(module, "power_mode", read)
    status.write_text(MODE)
    about = {"seconds": 90.0, "log": "", "about": {}, "peak": None, "power_mode": MODE, "built_on": "orin-1"}

    def built(number: int, **changes: Any) -> tuple[Builds, dict[str, Any], dict[str, Any]]:
        builds = Builds(Store(str(tmp_path / str(number))))
        request = request_of(model=put(builds.store, b"onnx"), deadline=1)
        key = builds.build(dict(request, find=True))["key"]
        shared = {**about, "key": key, "digest": put(builds.store, b"theirs"), **changes}
        return builds, request, builds.build(dict(request, shared=shared))

    builds, request, record = built(0)
    assert (record["built_on"], record["seconds"], record["cached"]) == ("orin-1", 90.0, False)
    assert builds.build(request) == {**record, "cached": True}
    other = key_of(key_facts(request_of(precision="fp32"), LIBRARIES, None))
    wrong: list[dict[str, Any]] = [{"key": other}, {"power_mode": "pmode:0003"}, {"power_mode": None}]
    wrong += [{"built_on": None}, {"built_on": ""}, {"digest": "b" * 64}]
    for number, change in enumerate(wrong, 1):
        refused = built(number, **change)[2]
        assert (refused["built_on"], refused["seconds"]) == (None, 2.0), change
    assert builds.build(dict(request, find=True))["stored"]
    status.write_text("pmode:0000")
    assert not builds.build(dict(request, find=True))["stored"]
    assert builds.build(request)["built_on"] is None
    status.unlink()
    assert built(9)[2]["built_on"] is None
    assert built(10, power_mode=None)[2]["built_on"] is None


class Agent:
    """A board without TensorRT: its store is real, and a build of its own stores the plan ``plan``."""

    def __init__(self, client: AgentClient, plan: Path) -> None:
        self.get_blob, self.put_blob, self._plan = client.get_blob, client.put_blob, plan

    def find(self, *_what: Any) -> Any:
        return SimpleNamespace(key="k", stored=False, power_mode=MODE)

    def build(self, *_what: Any, shared: dict[str, Any] | None = None, **_how: Any) -> BuiltEngine:
        digest = self.put_blob(self._plan) if shared is None else shared["digest"]
        by, size = None if shared is None else shared["built_on"], self._plan.stat().st_size
        return BuiltEngine(
            "k",
            digest,
            size,
            9.0,
            cached=False,
            runtime="tensorrt",
            runtime_version="10.3",
            log="",
            power_mode=MODE,
            built_on=by,
        )


def test_a_plan_goes_through_the_host_to_an_equal_board_and_only_undamaged(tmp_path: Path) -> None:
    """An equal board gets the first board's plan byte for byte; if the plan in the cache is damaged, it builds one."""
    (tmp_path / "plan").write_bytes(bytes(range(256)) * 4096)
    config = SimpleNamespace(resolve=lambda path: tmp_path / path, spec=SimpleNamespace())
    config.spec.project = SimpleNamespace(cache="cache")

    def built(name: str) -> tuple[BuiltEngine, bytes, bool]:
        with closing(open_target(name, TargetSpec(store=str(tmp_path / name))).start_agent()) as client:
            agent: Any = Agent(client, tmp_path / "plan")
            session: Any = SimpleNamespace(config=config, member=name, facts=probed(serial=name), agent=agent)
            session.spec = SimpleNamespace(runtime="tensorrt")
            engine = equal_boards.build(session, "a" * 64, "fp16", {}, 10.0)
            client.get_blob(engine.digest, tmp_path / "there", engine.size)
            copied = equal_boards.copied(session, engine, tmp_path / "copy")
            return engine, (tmp_path / "there").read_bytes(), copied

    plan = (tmp_path / "plan").read_bytes()
    assert built("1422")[0].built_on is None
    engine, there, copied = built("2422")
    assert (engine.built_on, there, copied) == ("1422 (serial 1422)", plan, True)
    assert (tmp_path / "copy").read_bytes() == plan
    [kept] = (tmp_path / "cache" / "engines").glob("*.plan")
    kept.write_bytes(plan[:-1])
    assert built("3422")[0].built_on is None
    assert kept.read_bytes() == plan  # the board that built it again replaced the damaged one
    kept.unlink()
    assert built("4422")[0].built_on is None
