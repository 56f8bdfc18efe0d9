"""Workers in real podman containers: an image of this interpreter, numpy and ONNX Runtime, without a GPU."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from hil.agent.machine.gpu_clients import GpuClients
from hil.config.spec import ContainerSpec, TargetSpec
from hil.errors import LabError, WorkerLost
from hil.targets.target import open_target
from tests.agent import models
from tests.agent.conftest import load
from tests.agent.containers import image
from tests.agent.test_interpreters import CACHE, environment, find
from tests.agent.test_supervisor import all_ended
from tests.plugins.project import SUITES, Project
from tests.targets.sshd import USER, Server, make_key

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator

    from hil.targets.answers import BuiltEngine
    from hil.targets.client import AgentClient
    from hil.targets.engine_worker import EngineWorker

    Starts = Callable[..., AgentClient]

FEED = {"x": np.linspace(-1, 1, 8, dtype=np.float32).reshape(2, 4)}
HOST = """
import os, signal, sys
from hil.config.spec import ContainerSpec, TargetSpec
from hil.targets.target import open_target
container = ContainerSpec.model_validate_json(sys.argv[2])
agent = open_target("board", TargetSpec(store=sys.argv[1], container=container)).start_agent()
agent.hold("token", "host")
busy, idle = (agent.call("spawn")[0] for _ in range(2))
os.kill(busy["pid"], signal.SIGSTOP)
print(agent.hello["pid"], busy["pid"], idle["pid"], flush=True)
agent.call("echo", {"worker": busy["worker"], "deadline": 600, "arrays": []})
"""


@pytest.fixture(scope="module")
def podman() -> Iterator[image.Podman]:
    """A podman whose storage has only the test images."""
    if os.geteuid() != 0:
        pytest.skip("podman with storage and a mount namespace of its own needs root")
    for program in ("podman", "unshare", "ldd", "tar"):
        if shutil.which(program) is None:
            pytest.skip(f"{program} is missing, which containers need")
    # Not pytest's folder: podman refuses a state folder of over 50 characters, and pytest's are longer under xdist.
    with tempfile.TemporaryDirectory(prefix="hil-") as place:
        folder = Path(place)
        engine = image.podman(folder)
        image.make(engine, folder)
        yield engine
        engine("rm", "--all", "--force")
        engine("rmi", "--all", "--force")


@pytest.fixture(autouse=True)
def _path(podman: image.Podman, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", f"{podman.folder}:{os.environ['PATH']}")


def describe(
    store: Path, libraries: str = image.FULL, extra: tuple[str, ...] = (), on_board: str | None = None, **keys: Any
) -> TargetSpec:
    """Describe a target whose workers run in a container."""
    settings = {"engine": "podman", "image": "hil-test:full", "python": image.PYTHON} | keys
    args = (*image.ARGS, "--env", f"PYTHONPATH={libraries}", *extra)
    return TargetSpec(store=str(store), python=on_board, container=ContainerSpec(args=args, **settings))


def start(spec: TargetSpec) -> AgentClient:
    """Start an agent that holds its target."""
    agent = open_target("board", spec).start_agent()
    agent.hold("token", "tester")
    return agent


@pytest.fixture(scope="module")
def shared(podman: image.Podman, cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[AgentClient]:
    """An agent with workers in containers, for tests that leave it running; no container may be left afterwards."""
    store = tmp_path_factory.mktemp("contained") / "store"
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("XDG_CACHE_HOME", str(cache))
        environment.setenv("PATH", f"{podman.folder}:{os.environ['PATH']}")
        agent = start(describe(store))
    with agent:
        yield agent
    assert nothing_left(podman, 3.0)
    assert not list((store / "tmp").iterdir())


@pytest.fixture(scope="module")
def worker(shared: AgentClient, tmp_path_factory: pytest.TempPathFactory) -> Iterator[EngineWorker]:
    """A worker in a container with ``models.tiny`` loaded, for tests that leave it running."""
    with load(shared, models.tiny(tmp_path_factory.mktemp("model") / "tiny.onnx")) as engine_worker:
        yield engine_worker


@pytest.fixture
def contained(podman: image.Podman, store: Path) -> Iterator[Starts]:
    """Return a function that starts agents that hold their target; no container or folder may be left afterwards."""
    started: list[AgentClient] = []
    before = containers(podman)

    def start_contained(*args: Any, **keys: Any) -> AgentClient:
        started.append(start(describe(store, *args, **keys)))
        return started[-1]

    yield start_contained
    for agent in started:
        agent.close()
    assert nothing_left(podman, 3.0, before)
    assert not list((store / "tmp").iterdir())


def containers(podman: image.Podman) -> set[str]:
    """Return the ids of all containers, running or not."""
    return set(podman("ps", "--all", "--quiet").split())


def nothing_left(podman: image.Podman, seconds: float, others: Collection[str] = ()) -> bool:
    """Return whether no container, running or not, other than ``others`` is left after at most ``seconds``."""
    until = time.monotonic() + seconds
    while containers(podman) - set(others):
        if time.monotonic() > until:
            return False
        time.sleep(0.2)
    return True


def build(agent: AgentClient, model: Path) -> BuiltEngine:
    """Return the record of ``models.tiny`` as an engine in the store."""
    return agent.build(agent.put_blob(model), "fp32", "onnxruntime", {}, 60)


def test_end_to_end(worker: EngineWorker) -> None:
    """A worker in a container loads, runs, times, measures memory, and receives a large tensor."""
    assert worker.first(FEED) > 0
    [(name, value)] = worker.run(FEED)
    timed = worker.time([FEED], warmup=0.1, seconds=0.3, min_samples=20, max_samples=10**6)
    memory = worker.memory()
    large = np.arange(4 << 20, dtype=np.float32).reshape(-1, 4)
    [(_, wide)] = worker.run({"x": large})
    assert name == "y"
    np.testing.assert_allclose(value, np.maximum(FEED["x"] @ models.WEIGHTS, 0), rtol=1e-5)
    np.testing.assert_allclose(wide, np.maximum(large @ models.WEIGHTS, 0), rtol=1e-5)
    assert timed.duration.size >= 20
    resident = [sample for sample in timed.telemetry["rss"] if sample]
    assert max(resident) == pytest.approx(memory.rss + memory.shared_bytes, rel=0.2), "another process was watched"


def test_only_the_worker_is_inside(shared: AgentClient, worker: EngineWorker) -> None:
    """Only the worker is in the container, without network or privileges, and it cannot write to the store's blobs."""
    store = shared.hello["store"]
    proc = Path(f"/proc/{worker.pid}")
    assert b"--worker" in (proc / "cmdline").read_bytes()
    assert (proc / "ns/mnt").readlink() != Path("/proc/self/ns/mnt").readlink()
    assert Path(f"/proc/{shared.hello['pid']}/ns/mnt").readlink() == Path("/proc/self/ns/mnt").readlink()
    interfaces = [line.split(":")[0].strip() for line in (proc / "net/dev").read_text().splitlines()[2:]]
    assert interfaces == ["lo"]
    effective = next(line for line in (proc / "status").read_text().splitlines() if line.startswith("CapEff"))
    assert int(effective.split()[1], 16) & (1 << 21) == 0, "CAP_SYS_ADMIN"
    archive = (proc / "cmdline").read_bytes().split(b"\0")[2].decode()
    assert GpuClients("/sys", "/proc", archive)._is_own(worker.pid)  # noqa: SLF001 - decides which GPU clients are the agent's
    mounts = {line.split()[4]: line.split()[5] for line in (proc / "mountinfo").read_text().splitlines()}
    assert mounts[store].split(",")[0] == "ro"
    assert mounts[str(Path(store) / "tmp")].split(",")[0] == "rw"


def test_the_environment_names_the_container(shared: AgentClient, podman: image.Podman, model: Path) -> None:
    """The environment has the engine, its version, the image's digest and the container's own libraries.

    The facts that an engine's key is computed from have the image's digest too.
    """
    facts = shared.probe()
    container = facts["container"]
    assert container["digest"] == "sha256:" + podman("image", "inspect", "--format", "{{.Id}}", "hil-test:full")
    assert container["version"] in podman("--version")
    assert (container["engine"], container["image"], container["python"]) == ("podman", "hil-test:full", image.PYTHON)
    assert facts["numpy"] == np.__version__
    assert facts["python"] == sys.version.split()[0]
    assert shared.adopt(shared.put_blob(model), "fp32", "onnxruntime", {}).facts["image"] == container["digest"]


def test_an_engine_is_built_inside(shared: AgentClient, model: Path) -> None:
    """A build runs in a container of its own; a second build with the same request returns the stored engine."""
    assert not build(shared, model).cached
    assert build(shared, model).cached


def test_lost_workers_are_reported(shared: AgentClient, podman: image.Podman) -> None:
    """If a worker ends, the message states how; one that exceeds its time is killed with its container."""
    before = containers(podman)
    crashed, late = (shared.call("spawn")[0] for _ in range(2))
    os.kill(crashed["pid"], signal.SIGSEGV)
    with pytest.raises(WorkerLost, match=rf"the worker \(process {crashed['pid']}\) was killed by SIGSEGV"):
        shared.call("echo", {"worker": crashed["worker"], "deadline": 60, "arrays": []})
    os.kill(late["pid"], signal.SIGSTOP)
    with pytest.raises(WorkerLost, match=r"took longer than its deadline of 0.5 s"):
        shared.call("echo", {"worker": late["worker"], "deadline": 0.5, "arrays": []})
    assert all_ended([late["pid"]], 0.5)
    assert nothing_left(podman, 1.0, before)
    for worker in (crashed, late):
        shared.call("unload", {"worker": worker["worker"]})


@pytest.mark.parametrize("victim", ["host", "supervisor"])
def test_no_container_outlives_its_supervisor(podman: image.Podman, store: Path, victim: str) -> None:
    """Three seconds after SIGKILL of the host or the supervisor, the workers and their containers have ended."""
    before = containers(podman)
    container = describe(store).container
    assert container is not None
    words = [sys.executable, "-c", HOST, str(store), container.model_dump_json()]
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as host:
        assert host.stdout is not None
        supervisor, *workers = [int(word) for word in host.stdout.readline().split()]
        assert len(workers) == 2
        time.sleep(0.3)
        os.kill(host.pid if victim == "host" else supervisor, signal.SIGKILL)
        assert all_ended([supervisor, *workers], 3.0)
        assert nothing_left(podman, 3.0, before)
        host.kill()


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"image": "hil-test:none"}, r"podman has no image hil-test:none: .*: run `podman pull hil-test:none` there"),
        ({"engine": "docker"}, r"docker (is not installed|is not running)"),
        ({"image": "hil-test:bare"}, rf"image hil-test:bare has no {image.PYTHON}"),
        ({"libraries": "/nowhere"}, rf"{image.PYTHON} in image hil-test:full cannot import numpy"),
        ({"extra": ("--no-such-option",)}, r"exit code 125\): Error: unknown flag: --no-such-option"),
        ({"extra": ("--detach",)}, r"the worker's container was detached"),
        ({"extra": ("--entrypoint", image.PYTHON)}, r"no worker started in image hil-test:full \(exit code 1\)"),
    ],
    ids=["image", "engine", "python", "numpy", "option", "detached", "entry point"],
)
def test_each_obstacle_is_one_message(contained: Starts, keys: dict[str, Any], message: str) -> None:
    """Each obstacle to starting a worker gives one message that names the target, and the agent continues."""
    agent = contained(**keys)
    with pytest.raises(LabError, match=message) as caught:
        agent.probe()
    assert "on target 'board'" in str(caught.value)
    assert agent.call("state", {"quick": True})


def test_a_missing_runtime_is_reported(contained: Starts, model: Path) -> None:
    """A runtime that the image lacks is reported as missing, even if it is installed outside the container."""
    agent = contained(libraries=image.WITHOUT_RUNTIME)
    reason = f"image hil-test:full has no onnxruntime that {image.PYTHON} can import"
    assert agent.probe()["why_not"]["onnxruntime"] == reason
    with pytest.raises(LabError, match=reason):
        build(agent, model)


def test_a_container_that_is_starting_is_removed(contained: Starts, podman: image.Podman) -> None:
    """If the host closes the agent while a container starts, that container is removed too."""
    before = containers(podman)
    agent = contained(libraries=image.SLOW)

    def probe() -> None:
        with pytest.raises(LabError):
            agent.probe()

    thread = threading.Thread(target=probe, daemon=True)
    thread.start()
    while not containers(podman) - before:
        time.sleep(0.2)
    agent.close()
    thread.join(10)
    assert not thread.is_alive()
    assert nothing_left(podman, 3.0, before)


def test_no_other_process_is_accepted_as_the_worker(contained: Starts, store: Path) -> None:
    """Another process of the user that connects to a worker's socket is rejected by its process id."""
    agent = contained(libraries=image.SLOW)
    messages: list[str] = []

    def probe() -> None:
        with pytest.raises(LabError) as caught:
            agent.probe()
        messages.append(str(caught.value))

    thread = threading.Thread(target=probe, daemon=True)
    thread.start()
    while not (sockets := list(store.glob("tmp/worker-*/socket"))):
        time.sleep(0.05)
    assert sockets[0].parent.stat().st_mode & 0o077 == 0
    time.sleep(1)
    folder = os.open(sockets[0].parent, os.O_RDONLY)
    with socket.socket(socket.AF_UNIX) as first, socket.socket(socket.AF_UNIX) as second:
        for client in (first, second):
            client.connect(f"/proc/self/fd/{folder}/socket")
        thread.join(20)
    os.close(folder)
    assert f"the process that connected as the worker ({os.getpid()}) is not in the worker's container" in messages[0]


def test_the_suites_across_a_network(podman: image.Podman, tmp_path: Path, store: Path) -> None:
    """Over SSH the supervisor runs on the remote machine, its workers in containers; the report names the image."""
    key = make_key(tmp_path / "key")
    server = Server(tmp_path / "sshd", Path(f"{key}.pub"), f"SetEnv PATH={podman.folder}:/usr/bin:/bin")
    (tmp_path / "known").write_text(server.known_line(), encoding="ascii")
    before = containers(podman)
    project = Project.make(tmp_path)
    project.require("latency.p99")
    where = {"kind": "ssh", "host": "127.0.0.1", "port": server.port, "user": USER, "python": sys.executable}
    where |= {"identity": str(key), "known_hosts": str(tmp_path / "known"), "store": str(store), "evidence": "emulated"}
    container = describe(store).container
    assert container is not None
    tables = {"targets.rover": where, "targets.rover.container": container.model_dump(exclude_none=True)}
    with (tmp_path / "hil.toml").open("a", encoding="utf-8") as file:
        for name, keys in tables.items():
            file.write(f"[{name}]\n" + "".join(f"{key} = {json.dumps(value)}\n" for key, value in keys.items()))
    try:
        ran = project.run(*SUITES, "-k", "test_p99", "--target=rover")
    finally:
        server.stop()
    assert ran.code == 0, ran.out
    assert ran.report is not None
    assert ran.report["target"]["facts"]["container"]["image"] == "hil-test:full"
    timed = ran.check("latency.p99")
    assert ran.report["environments"][timed["measurement"]["environment"]]["container"]["engine"] == "podman"
    assert (timed["verdict"], timed["evidence"]) == ("passed", "emulated")
    assert nothing_left(podman, 3.0, before)
    assert not list((store / "tmp").iterdir())


def test_board_and_image_may_have_other_interpreters(
    contained: Starts, request: pytest.FixtureRequest, model: Path
) -> None:
    """The board's interpreter needs only its standard library if workers run in containers."""
    version = "3.6"
    python = find(version)
    if python is None:
        pytest.skip(f"python{version} is not installed")
    cache = os.environ.get(CACHE)
    folder = Path(cache) if cache else Path(request.config.cache.mkdir("hil-interpreters"))
    agent = contained(on_board=str(environment(python, version, folder)))
    assert agent.hello["python"].startswith(version + ".")
    assert agent.probe()["python"] == sys.version.split()[0]
    with load(agent, model) as worker:
        assert worker.run(FEED)


def test_a_store_may_have_a_long_path(tmp_path: Path) -> None:
    """A store's path may be longer than the 107 bytes of a socket's address."""
    with start(describe(tmp_path / ("a" * 100) / ("b" * 100))) as agent:
        worker = agent.call("spawn")[0]["worker"]
        [(name, value)] = agent.call("echo", {"worker": worker, "deadline": 60}, FEED.items())[1]
    assert name == "x"
    np.testing.assert_array_equal(value, FEED["x"])
