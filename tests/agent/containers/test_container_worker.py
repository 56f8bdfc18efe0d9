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
from tests.agent.containers import image
from tests.agent.test_interpreters import CACHE, environment, find
from tests.agent.test_supervisor import all_ended
from tests.plugins.project import SUITES, Project
from tests.targets.sshd import USER, Server, make_key

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from hil.targets.client import AgentClient

    Starts = Callable[..., AgentClient]

FEED = {"x": np.linspace(-1, 1, 8, dtype=np.float32).reshape(2, 4)}
HOST = """
import sys
from pathlib import Path
import numpy as np
from hil.config.spec import ContainerSpec, TargetSpec
from hil.targets.target import open_target
container = ContainerSpec.model_validate_json(sys.argv[3])
agent = open_target("board", TargetSpec(store=sys.argv[1], container=container)).start_agent()
agent.hold("token", "host")
built = agent.build(agent.put_blob(Path(sys.argv[2])), "fp32", "onnxruntime", {}, 60)
worker, idle = agent.load(built.key, {}, 60), agent.load(built.key, {}, 60)
print(agent.hello["pid"], worker.pid, idle.pid, flush=True)
worker.soak({"x": np.zeros((1, 4), np.float32)}, 10**9, deadline=600)
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


@pytest.fixture
def target(store: Path) -> Callable[..., TargetSpec]:
    """Return a function that describes a target whose workers run in a container."""

    def describe(
        libraries: str = image.FULL, extra: tuple[str, ...] = (), on_board: str | None = None, **keys: Any
    ) -> TargetSpec:
        settings = {"engine": "podman", "image": "hil-test:full", "python": image.PYTHON} | keys
        args = (*image.ARGS, "--env", f"PYTHONPATH={libraries}", *extra)
        return TargetSpec(store=str(store), python=on_board, container=ContainerSpec(args=args, **settings))

    return describe


@pytest.fixture
def contained(target: Callable[..., TargetSpec], podman: image.Podman, store: Path) -> Iterator[Starts]:
    """Return a function that starts agents that hold their target; no container or folder may be left afterwards."""
    started: list[AgentClient] = []

    def start(*args: Any, **keys: Any) -> AgentClient:
        started.append(open_target("board", target(*args, **keys)).start_agent())
        started[-1].hold("token", "tester")
        return started[-1]

    yield start
    for agent in started:
        agent.close()
    assert nothing_left(podman, 3.0)
    assert not list((store / "tmp").iterdir())


def nothing_left(podman: image.Podman, seconds: float) -> bool:
    """Return whether no container, running or not, is left after at most ``seconds``."""
    until = time.monotonic() + seconds
    while podman("ps", "--all", "--quiet"):
        if time.monotonic() > until:
            return False
        time.sleep(0.1)
    return True


def build(agent: AgentClient, model: Path) -> Any:
    """Return the record of ``models.tiny`` as an engine in the store."""
    return agent.build(agent.put_blob(model), "fp32", "onnxruntime", {}, 60)


def test_end_to_end(contained: Starts, model: Path) -> None:
    """A worker in a container builds, loads, runs, times, measures memory, and takes a large tensor."""
    agent = contained()
    with agent.load(build(agent, model).key, {"threads": 1}, 60) as worker:
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


def test_only_the_worker_is_inside(contained: Starts, model: Path, store: Path) -> None:
    """The worker's process id is the outer one; it has no network and no privileges, and cannot write to a blob."""
    agent = contained()
    worker = agent.load(build(agent, model).key, {}, 60)
    proc = Path(f"/proc/{worker.pid}")
    assert b"--worker" in (proc / "cmdline").read_bytes()
    assert (proc / "ns/mnt").readlink() != Path("/proc/self/ns/mnt").readlink()
    assert Path(f"/proc/{agent.hello['pid']}/ns/mnt").readlink() == Path("/proc/self/ns/mnt").readlink()
    interfaces = [line.split(":")[0].strip() for line in (proc / "net/dev").read_text().splitlines()[2:]]
    assert interfaces == ["lo"]
    effective = next(line for line in (proc / "status").read_text().splitlines() if line.startswith("CapEff"))
    assert int(effective.split()[1], 16) & (1 << 21) == 0, "CAP_SYS_ADMIN"
    archive = (proc / "cmdline").read_bytes().split(b"\0")[2].decode()
    assert GpuClients("/sys", "/proc", archive)._is_own(worker.pid)  # noqa: SLF001 - decides which GPU clients are the agent's
    mounts = {line.split()[4]: line.split()[5] for line in (proc / "mountinfo").read_text().splitlines()}
    assert mounts[str(store)].split(",")[0] == "ro"
    assert mounts[str(store / "tmp")].split(",")[0] == "rw"


def test_the_environment_names_the_container(contained: Starts, podman: image.Podman) -> None:
    """The environment has the engine, its version and the image's digest, and the container's own libraries."""
    facts = contained().probe()
    container = facts["container"]
    assert container["digest"] == "sha256:" + podman("image", "inspect", "--format", "{{.Id}}", "hil-test:full")
    assert container["version"] in podman("--version")
    assert (container["engine"], container["image"], container["python"]) == ("podman", "hil-test:full", image.PYTHON)
    assert facts["numpy"] == np.__version__
    assert facts["python"] == sys.version.split()[0]


def test_an_image_is_part_of_the_key(contained: Starts, podman: image.Podman, model: Path, agent: AgentClient) -> None:
    """An engine's key depends on the image and its args, since the image's libraries build the engine."""
    uncontained = build(agent, model)
    agent.close()
    built = [uncontained, build(contained(), model)]
    assert build(contained(), model).cached
    podman("tag", "hil-test:full", "hil-test:same")
    assert build(contained(image="hil-test:same"), model).cached
    podman("commit", "--quiet", podman("create", *image.ARGS, "hil-test:full", "none"), "hil-test:other")
    podman("rm", "--all", "--force")
    built += [build(contained(image="hil-test:other"), model), build(contained(extra=("--env", "A=1")), model)]
    assert len({first.key for first in built}) == 4
    assert not any(first.cached for first in built)


def test_the_end_of_a_worker_is_reported(contained: Starts, model: Path) -> None:
    """The message states how the worker ended, and the next load starts another worker."""
    agent = contained()
    key = build(agent, model).key
    worker = agent.load(key, {}, 60)
    os.kill(worker.pid, signal.SIGSEGV)
    with pytest.raises(WorkerLost, match=rf"the worker \(process {worker.pid}\) was killed by SIGSEGV"):
        worker.run(FEED)
    worker.close()
    with agent.load(key, {}, 60) as fresh:
        assert fresh.run(FEED)


def test_an_overdue_worker_is_killed(contained: Starts, podman: image.Podman, model: Path) -> None:
    """The deadline kills the container by its id, not only the engine's own process."""
    agent = contained()
    worker = agent.load(build(agent, model).key, {}, 60)
    os.kill(worker.pid, signal.SIGSTOP)
    with pytest.raises(WorkerLost, match=r"took longer than its deadline of 0.5 s"):
        worker.run(FEED, deadline=0.5)
    assert all_ended([worker.pid], 0.5)
    assert nothing_left(podman, 1.0)
    worker.close()


@pytest.mark.parametrize("victim", ["host", "supervisor"])
def test_no_container_outlives_its_supervisor(
    target: Callable[..., TargetSpec], podman: image.Podman, model: Path, victim: str
) -> None:
    """Three seconds after SIGKILL of host or supervisor, both workers and their containers are gone."""
    spec = target()
    assert spec.store is not None
    assert spec.container is not None
    words = [sys.executable, "-c", HOST, spec.store, str(model), spec.container.model_dump_json()]
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as host:
        assert host.stdout is not None
        supervisor, *workers = [int(word) for word in host.stdout.readline().split()]
        assert len(workers) == 2
        time.sleep(0.3)
        os.kill(host.pid if victim == "host" else supervisor, signal.SIGKILL)
        assert all_ended([supervisor, *workers], 3.0)
        assert nothing_left(podman, 3.0)
        host.kill()


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"image": "hil-test:none"}, r"podman has no image hil-test:none: .*: run `podman pull hil-test:none` there"),
        ({"engine": "docker"}, r"docker (is not installed|is not running)"),
        ({"image": "hil-test:bare"}, rf"image hil-test:bare has no {image.PYTHON}"),
        ({"python": "/opt/python"}, r"/opt/python of image hil-test:full cannot be executed|has no /opt/python"),
        ({"libraries": "/nowhere"}, rf"{image.PYTHON} in image hil-test:full cannot import numpy"),
        ({"extra": ("--no-such-option",)}, r"exit code 125\): Error: unknown flag: --no-such-option"),
        ({"extra": ("--detach",)}, r"the worker's container was detached"),
        ({"extra": ("--entrypoint", image.PYTHON)}, r"no worker started in image hil-test:full \(exit code 1\)"),
    ],
    ids=["image", "engine", "python", "executable", "numpy", "option", "detached", "entry point"],
)
def test_each_obstacle_is_one_message(contained: Starts, keys: dict[str, Any], message: str) -> None:
    """Whatever prevents a worker from starting gives one message, and the agent continues."""
    agent = contained(**keys)
    for _ in range(2):
        with pytest.raises(LabError, match=message) as caught:
            agent.probe()
        assert "on target 'board'" in str(caught.value)


def test_a_missing_runtime_is_reported(contained: Starts, model: Path) -> None:
    """A runtime that is installed outside the container but not in it is missing."""
    agent = contained(libraries=image.WITHOUT_RUNTIME)
    reason = f"image hil-test:full has no onnxruntime that {image.PYTHON} can import"
    assert agent.probe()["why_not"]["onnxruntime"] == reason
    with pytest.raises(LabError, match=reason):
        build(agent, model)


def test_a_container_that_is_starting_is_removed(contained: Starts, podman: image.Podman) -> None:
    """If the host goes away while a container starts, the container is removed too."""
    agent = contained(libraries=image.SLOW)

    def probe() -> None:
        with pytest.raises(LabError):
            agent.probe()

    thread = threading.Thread(target=probe, daemon=True)
    thread.start()
    while not podman("ps", "--quiet"):
        time.sleep(0.1)
    agent.close()
    thread.join(10)
    assert not thread.is_alive()
    assert nothing_left(podman, 3.0)


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


def test_the_suites_across_a_network(
    podman: image.Podman, target: Callable[..., TargetSpec], tmp_path: Path, store: Path
) -> None:
    """Over SSH the supervisor runs on the remote machine, its workers in containers; the report names the image."""
    key = make_key(tmp_path / "key")
    server = Server(tmp_path / "sshd", Path(f"{key}.pub"), f"SetEnv PATH={podman.folder}:/usr/bin:/bin")
    (tmp_path / "known").write_text(server.known_line(), encoding="ascii")
    project = Project.make(tmp_path)
    where = {"kind": "ssh", "host": "127.0.0.1", "port": server.port, "user": USER, "python": sys.executable}
    where |= {"identity": str(key), "known_hosts": str(tmp_path / "known"), "store": str(store), "evidence": "emulated"}
    container = target().container
    assert container is not None
    tables = {"targets.rover": where, "targets.rover.container": container.model_dump(exclude_none=True)}
    with (tmp_path / "hil.toml").open("a", encoding="utf-8") as file:
        for name, keys in tables.items():
            file.write(f"[{name}]\n" + "".join(f"{key} = {json.dumps(value)}\n" for key, value in keys.items()))
    try:
        ran = project.run(*SUITES, "--target=rover")
    finally:
        server.stop()
    assert ran.code == 0, ran.out
    assert ran.report is not None
    assert ran.report["target"]["facts"]["container"]["image"] == "hil-test:full"
    timed = ran.check("latency.p99")
    assert ran.report["environments"][timed["measurement"]["environment"]]["container"]["engine"] == "podman"
    assert (timed["verdict"], timed["evidence"]) == ("passed", "emulated")
    assert nothing_left(podman, 3.0)
    assert not list((store / "tmp").iterdir())


@pytest.mark.parametrize("version", ["3.6", "3.8"])
def test_board_and_image_may_have_other_interpreters(
    contained: Starts, request: pytest.FixtureRequest, model: Path, version: str
) -> None:
    """The board's interpreter, which runs the agent, needs only its standard library."""
    python = find(version)
    if python is None:
        pytest.skip(f"python{version} is not installed")
    cache = os.environ.get(CACHE)
    folder = Path(cache) if cache else Path(request.config.cache.mkdir("hil-interpreters"))
    agent = contained(on_board=str(environment(python, version, folder)))
    assert agent.hello["python"].startswith(version + ".")
    assert agent.probe()["python"] == sys.version.split()[0]
    with agent.load(build(agent, model).key, {}, 60) as worker:
        assert worker.run(FEED)


def test_a_store_may_have_a_long_path(target: Callable[..., TargetSpec], model: Path, tmp_path: Path) -> None:
    """A store's path may be longer than the 107 bytes of a socket's address."""
    deep = tmp_path / ("a" * 100) / ("b" * 100)
    spec = target().model_copy(update={"store": str(deep)})
    with open_target("board", spec).start_agent() as agent:
        agent.hold("token", "tester")
        with agent.load(build(agent, model).key, {}, 60) as worker:
            assert worker.run(FEED)
