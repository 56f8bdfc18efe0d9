from __future__ import annotations

import os
import signal
import threading
import time
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from hil.config.spec import TargetSpec
from hil.errors import EngineError, LabError, WorkerLost
from hil.targets import requests
from hil.targets.target import open_target
from tests.agent import models

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from hil.targets.client import AgentClient
    from hil.targets.engine_worker import EngineWorker


@pytest.fixture
def agent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[AgentClient]:
    """Return an agent that holds its target."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    with open_target("bench", TargetSpec(store=str(tmp_path / "store"))).start_agent() as client:
        client.hold("token", "tester")
        yield client


@pytest.fixture
def worker(agent: AgentClient, tmp_path: Path) -> Iterator[EngineWorker]:
    """Return ``models.tiny``, loaded."""
    built = agent.build(agent.put_blob(models.tiny(tmp_path / "tiny.onnx")), "fp32", "onnxruntime", {}, 60)
    with agent.load(built.key, {"threads": 1}, 60) as loaded:
        yield loaded


def feeds(count: int, rows: int = 2) -> list[dict[str, Any]]:
    """Return ``count`` distinct inputs for ``models.tiny``."""
    return [{"x": np.full((rows, 4), number, np.float32)} for number in range(count)]


def test_answers_come_in_the_order_of_the_feeds(worker: EngineWorker) -> None:
    """Pipelined inferences give the same outputs as sequential ones, bit for bit, for any number of feeds."""
    for count in (0, 1, 2, 300):
        sequential = [worker.run(feed) for feed in feeds(count)]
        pipelined = list(worker.run_many(iter(feeds(count))))
        assert len(pipelined) == count
        for (one,), (other,) in zip(sequential, pipelined, strict=True):
            assert one[0] == other[0]
            assert one[1].tobytes() == other[1].tobytes()


def test_feeds_may_share_a_buffer(worker: EngineWorker) -> None:
    """Each feed is sent before the next one is requested, so that a generator may reuse one array."""
    buffer = np.zeros((2, 4), np.float32)

    def filled() -> Iterator[dict[str, Any]]:
        for number in range(100):
            buffer[:] = number
            yield {"x": buffer}

    for (expected,), (actual,) in zip(worker.run_many(feeds(100)), worker.run_many(filled()), strict=True):
        assert expected[1].tobytes() == actual[1].tobytes()


def test_a_refused_feed_is_an_error_in_its_place(worker: EngineWorker) -> None:
    """Feeds before a refused one are answered, feeds after it are dropped, and the worker stays usable."""
    bad = [*feeds(5), {"y": np.zeros(3, np.float32)}, *feeds(50)]
    got: list[Any] = []
    with pytest.raises(EngineError):
        got.extend(worker.run_many(bad))
    assert len(got) == 5
    assert len(worker.run(feeds(1)[0])) == 1


def test_an_error_of_the_feeds_is_raised_in_its_place(worker: EngineWorker) -> None:
    """An error of the data set is raised after the answers to the feeds before it, although it occurred earlier."""

    def breaking() -> Iterator[dict[str, Any]]:
        yield from feeds(7)
        raise KeyError("sample 7")

    got: list[Any] = []
    with pytest.raises(KeyError, match="sample 7"):
        got.extend(worker.run_many(breaking()))
    assert len(got) == 7
    assert len(worker.run(feeds(1)[0])) == 1


def test_a_stream_closed_early(worker: EngineWorker) -> None:
    """After a stream was closed early the next request gets its own answer."""
    for _ in range(20):
        stream = worker.run_many(feeds(100))
        next(stream)
        next(stream)
        stream.close()
        ((_, first),) = worker.run(feeds(100)[50])
        ((_, second),) = worker.run(feeds(100)[50])
        assert first.tobytes() == second.tobytes()


def test_two_streams_at_once(agent: AgentClient, worker: EngineWorker, tmp_path: Path) -> None:
    """Two engines of one agent answer two interleaved streams, and a call in between."""
    built = agent.build(agent.put_blob(tmp_path / "tiny.onnx"), "fp32", "onnxruntime", {}, 60)
    with agent.load(built.key, {"threads": 1}, 60) as second:
        pairs = zip(worker.run_many(feeds(200)), second.run_many(feeds(200)), strict=True)
        for number, ((one,), (other,)) in enumerate(pairs):
            assert one[1].tobytes() == other[1].tobytes()
            if number % 50 == 0:
                assert agent.call("memory", {"worker": second._number, "deadline": 10})[0]["rss"] > 0  # noqa: SLF001 - the number that the worker sends


def test_threads_do_not_mix_their_answers(worker: EngineWorker) -> None:
    """Each of several threads that send requests gets its own answers."""
    wrong: list[int] = []

    def ask(number: int) -> None:
        tensor = np.full(1000 + number, number, np.int32)
        for _ in range(100):
            ((_, back),) = worker.echo({"x": tensor})
            if back.tobytes() != tensor.tobytes():
                wrong.append(number)

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_large_feeds_and_large_answers_flow_both_ways(worker: EngineWorker) -> None:
    """Large requests and answers do not deadlock, and the bytes in flight stay bounded."""
    drawn = 0

    def tensors() -> Iterator[dict[str, Any]]:
        nonlocal drawn
        for number in range(12):
            drawn += 1
            yield {"x": np.full(4 << 20, number, np.float32)}

    received = 0
    for _, ((_, back),) in worker._call_many("echo", 60, tensors()):  # noqa: SLF001 - echo alone answers with as much
        assert back[0] == back[-1] == received
        received += 1
        assert drawn - received <= 1 + requests.MOST_BYTES // back.nbytes
    assert received == 12


def test_a_slow_engine_has_few_requests_in_flight() -> None:
    """At most about a second of work is in flight, so that a request after an abandoned stream waits no longer."""
    began, sent = time.monotonic(), []

    class Slow:
        def send(self, request: dict[str, Any], chunks: Any, most: int) -> requests.Answer:  # noqa: ARG002 - as Requests
            sent.append(time.monotonic() - began)
            return requests.Answer(len(sent))

        def take(self, answer: requests.Answer) -> Any:  # noqa: ARG002 - as Requests
            time.sleep(0.25)
            return {}, b""

    ahead = []
    for number, _ in enumerate(requests.pipelined(Slow(), (({}, ()) for _ in range(16)))):  # type: ignore[arg-type]  # a stand-in
        ahead.append(len(sent) - number)
    assert ahead[0] == requests.FIRST
    assert max(ahead) <= 7


def test_a_killed_worker_ends_a_stream(agent: AgentClient, worker: EngineWorker) -> None:
    """The answers before the worker's death arrive, then ``WorkerLost``; the agent stays usable."""
    stream = worker.run_many(feeds(100_000))
    for _ in range(10):
        next(stream)
    os.kill(worker.pid, signal.SIGKILL)
    with pytest.raises(WorkerLost):
        list(stream)
    assert worker.lost
    assert agent.probe()["cores"] >= 1


def test_a_killed_agent_ends_a_stream(agent: AgentClient, worker: EngineWorker) -> None:
    """The loss of the agent gives one message, for the stream and for every later call."""
    stream = worker.run_many(feeds(100_000))
    next(stream)
    os.kill(agent.hello["pid"], signal.SIGKILL)
    with pytest.raises(LabError, match="on target 'bench'"):
        list(stream)
    with pytest.raises(LabError, match="the agent was lost"):
        agent.probe()


def test_a_slow_caller(worker: EngineWorker) -> None:
    """An answer that the caller has not read yet blocks neither the agent nor other requests."""
    stream = worker.run_many(feeds(64, rows=20_000))
    next(stream)
    time.sleep(0.5)
    began = time.monotonic()
    worker.memory()
    assert time.monotonic() - began < 2
    assert sum(1 for _ in stream) == 63


def test_large_answers_of_an_abandoned_stream(worker: EngineWorker) -> None:
    """A stream closed with many MiB in flight blocks neither side: a large request right after it is answered."""
    large = np.zeros(4 << 20, np.uint8)
    for _ in range(3):
        stream = worker._call_many("echo", 60, ({"x": large} for _ in range(20)))  # noqa: SLF001 - echo alone answers with as much
        next(stream)
        next(stream)
        stream.close()
        time.sleep(0.3)  # meanwhile the agent writes an answer that no caller awaits
        began = time.monotonic()
        assert len(worker.echo({"x": large})) == 1
        assert time.monotonic() - began < 10


class Instant:
    """A stand-in for ``Requests`` whose answers arrive at once; counts the requests, and the most in flight."""

    def __init__(self) -> None:
        """Start without requests."""
        self.sent = self.answered = self.most = 0

    def send(self, request: dict[str, Any], chunks: Any, most: int) -> requests.Answer:  # noqa: ARG002 - as Requests
        """Count one more request in flight."""
        self.sent += 1
        self.most = max(self.most, self.sent - self.answered)
        return requests.Answer(self.sent, most)

    def take(self, answer: requests.Answer) -> tuple[dict[str, Any], Any]:  # noqa: ARG002 - as Requests
        """Answer at once."""
        self.answered += 1
        return {}, np.empty(0, np.uint8)


def test_a_burst_of_answers_does_not_raise_the_limit() -> None:
    """After two answers in one burst at most 128 requests are in flight; after many, the maximum is reached."""
    instant = Instant()
    orders = (({"op": "run"}, ()) for _ in range(2000))
    answers = requests.pipelined(instant, orders)  # type: ignore[arg-type]  # a stand-in
    next(answers)
    assert instant.most == requests.FIRST
    next(answers)
    next(answers)
    assert instant.most == 2 * requests.GROWTH
    assert len(list(answers)) == 1997
    assert instant.most == requests.MOST


def test_the_bytes_of_an_upload_channel_count() -> None:
    """Pieces sent over an upload channel count as in flight: of pieces of 1 MiB at most 32 are in flight."""
    instant = Instant()
    orders = (({"op": "blob_append", "pipe": 0, "length": 1 << 20}, ()) for _ in range(500))
    assert len(list(requests.pipelined(instant, orders))) == 500  # type: ignore[arg-type]  # a stand-in
    assert instant.most == requests.MOST_BYTES >> 20
