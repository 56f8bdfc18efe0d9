"""Checks of the agent that each interpreter of a JetPack must pass: plain unittest, CPython 3.6 syntax.

Run with the agent's archive on PYTHONPATH. HIL_MODEL is the path of an ONNX file with input ``x: float32[n, 4]`` and
output ``y``, HIL_MODULES the number of modules in the archive.
"""

import fcntl
import hashlib
import importlib
import os
import pkgutil
import shutil
import tempfile
import time
import unittest

import hil_agent
import numpy as np
from hil_agent.failure import Failure
from hil_agent.jetson.tegrastats_process import TegrastatsProcess
from hil_agent.machine import probe, process_memory
from hil_agent.machine.board_sampler import BoardSampler
from hil_agent.protocol import arrays, wire
from hil_agent.protocol.channel import Channel
from hil_agent.protocol.segment import GRAIN, Segment
from hil_agent.runtimes import runtime
from hil_agent.store.blobs import Store
from hil_agent.store.build_records import key_of
from hil_agent.store.lock import SessionLock, open_lock, try_flock
from hil_agent.workers import telemetry, timed_loop

CLAIM = {"token": "a", "who": "me", "host": "here", "pid": "1"}
OTHER = {"token": "b", "who": "other", "host": "there", "pid": "2"}


class Archive(unittest.TestCase):
    """The archive's content."""

    def test_every_module_is_imported(self):
        """Every module can be imported, and no folder is skipped because its ``__init__`` is missing."""
        names = [module.name for module in pkgutil.walk_packages(hil_agent.__path__, "hil_agent.")]
        for name in names:
            importlib.import_module(name)
        self.assertEqual(len(names), int(os.environ["HIL_MODULES"]))


class WithFolder(unittest.TestCase):
    """A test with its own folder."""

    def setUp(self):
        self.folder = tempfile.mkdtemp()
        self.addCleanup(shutil.rmtree, self.folder)


class Wire(unittest.TestCase):
    """Frames and arrays."""

    def through(self, data):
        read_fd, write_fd = os.pipe()
        os.write(write_fd, data)
        os.close(write_fd)
        self.addCleanup(os.close, read_fd)
        return Channel(read_fd, read_fd)

    def test_every_dtype_arrives(self):
        """Each supported dtype arrives bit for bit."""
        values = np.arange(6).reshape(2, 3)
        sent = [
            (name, values.astype(wire.BITS.get(name, name)).view(arrays.dtype_of(name)))
            for name in sorted(wire.ITEM_SIZES)
        ]
        sent.append(("empty", np.zeros((0, 3), np.float32)))
        sent.append(("scalar", np.array(1.5)))
        listing, chunks = arrays.describe(sent)
        body = b"".join(bytes(chunk) for chunk in chunks)
        channel = self.through(wire.encode({"arrays": listing}, len(body)) + body)
        header = channel.receive()
        back = arrays.views(channel.take(), wire.slots(header, len(body)))
        for (name, one), (name_back, other) in zip(sent, back):
            self.assertEqual((name, one.dtype, one.shape), (name_back, other.dtype, other.shape))
            self.assertEqual(one.tobytes(), other.tobytes())

    def test_malformed_frames_are_refused(self):
        """Garbage, truncated frames, NaN, duplicate keys, endless nesting and endless numbers raise WireError."""
        good = wire.encode({"op": "x"}, 0)
        texts = [b'{"a": NaN}', b'{"a": 1, "a": 1}', b"[" * 50000, b'{"a": ' + b"9" * 50000 + b"}", b"\xff", b"[]"]
        frames = [wire.HEAD.pack(wire.MAGIC, len(text), 0) + text for text in texts]
        for data in [good[:-1], good[:5], b"", b"x" * 64] + frames:
            with self.assertRaises(wire.WireError):
                self.through(data).receive()


class Pace(unittest.TestCase):
    """Fixed release times."""

    def test_a_stall_delays_the_following_responses(self):
        """A stall does not postpone releases: response times count from each inference's own release."""
        pauses = iter([0.0, 0.05] + [0.0] * 8)
        series = timed_loop.pace([lambda: time.sleep(next(pauses))], 0.01, 10, 60.0)
        ends = np.array(series["start"]) + np.array(series["duration"])
        response = ends - series["first"] - np.arange(10) * 0.01
        self.assertTrue((response[1:5] >= 0.0499 - np.arange(4) * 0.01).all())


class Stores(WithFolder):
    """Blobs, locks, shared memory."""

    def test_an_upload_becomes_a_blob(self):
        """An upload in two pieces becomes a blob; an upload with a wrong digest is deleted."""
        store = Store(self.folder)
        digest = hashlib.sha256(b"abcd").hexdigest()
        self.assertEqual(store.begin(digest, 4), 0)
        store.append(digest, 0, b"ab")
        store.append(digest, 2, b"cd")
        store.commit(digest)
        self.assertEqual(store.read(digest, 1, 2), b"bc")
        wrong = hashlib.sha256(b"other").hexdigest()
        store.begin(wrong, 4)
        store.append(wrong, 0, b"abcd")
        with self.assertRaises(Failure):
            store.commit(wrong)
        self.assertEqual(os.listdir(os.path.join(self.folder, "partial")), [])

    def test_sessions_exclude_each_other(self):
        """An agent with the same token joins; another token is refused with the holder's name."""
        one, two, three = (SessionLock(self.folder) for _ in range(3))
        self.assertTrue(one.attempt(CLAIM))
        self.assertTrue(two.attempt(CLAIM))
        self.assertFalse(three.attempt(OTHER))
        self.assertIn("held by me from host here", three.refusal().message)
        one.release()
        two.release()
        self.assertTrue(three.attempt(OTHER))
        three.release()

    def test_flock_excludes(self):
        """Two descriptors of one lock file exclude each other."""
        path = os.path.join(self.folder, "lock")
        one, two = open_lock(path), open_lock(path)
        self.assertTrue(try_flock(one, fcntl.LOCK_EX))
        self.assertFalse(try_flock(two, fcntl.LOCK_EX))
        os.close(one)
        self.assertTrue(try_flock(two, fcntl.LOCK_EX))
        os.close(two)

    def test_shared_memory_grows(self):
        """Each side reads data of the other, also after growth; older views stay valid."""
        ours = Segment.create(self.folder)
        ours.reserve(10)
        theirs = Segment(os.dup(ours.fd))
        old = ours.view(0, 3)
        old[:] = b"abc"
        self.assertEqual(bytes(theirs.view(0, 3)), b"abc")
        ours.reserve(3 * GRAIN)
        theirs.reach(ours.size)
        ours.view(2 * GRAIN, 1)[:] = b"z"
        self.assertEqual(bytes(theirs.view(2 * GRAIN, 1)), b"z")
        self.assertEqual(bytes(old), b"abc")
        with self.assertRaises(ValueError):
            ours.view(ours.size, 1)
        ours.close()
        theirs.close()


class Readings(unittest.TestCase):
    """Memory, telemetry, timing, the probe."""

    def test_memory_is_read(self):
        """RSS, the peak and the machine's memory are plausible."""
        peak = process_memory.Peak()
        peak.begin()
        np.ones(32 << 20, np.uint8)
        peak.end()
        use = process_memory.usage(peak)
        self.assertGreater(use["peak_rss"], 30 << 20)
        self.assertGreater(use["rss"], 1 << 20)
        self.assertGreater(use["system_total"], use["system_available"])

    def test_samples_are_taken(self):
        """A sampler reads this process's RSS and thins out a series that becomes too long."""
        sampler = telemetry.Sampler(os.getpid())
        for at in range(telemetry.MAX_KEPT + 10):
            sampler.take(at * 0.1)
        report = sampler.report()
        sampler.close()
        self.assertEqual(report["taken"], telemetry.MAX_KEPT + 10)
        self.assertLess(len(report["t"]), telemetry.MAX_KEPT)
        self.assertEqual(len(report["t"]), len(report["rss"]))
        self.assertGreater(min(report["rss"]), 1 << 20)

    def test_time_is_measured(self):
        """Durations are as long as the timed call."""
        self.assertTrue(timed_loop.warm_up([lambda: time.sleep(0.001)], 0.1).runs >= 10)
        series = timed_loop.measure([lambda: time.sleep(0.01)], timed_loop.Window(0.0, 5, 5, 10.0))
        self.assertGreaterEqual(min(series["duration"]), 0.01)

    def test_the_machine_is_probed(self):
        """The probe returns plausible facts, and a key does not depend on the order of facts."""
        facts = probe.machine()
        facts.update(probe.libraries())
        self.assertEqual(facts["numpy"], np.__version__)
        self.assertGreater(facts["cores"], 0)
        self.assertEqual(key_of({"a": 1, "b": None}), key_of({"b": None, "a": 1}))


class Board(WithFolder):
    """Sensors that are read while an engine is timed."""

    LINE = "01-03-2023 16:07:54 RAM 2257/30536MB (lfb 5392x4MB) CPU [0%@729,off] GR3D_FREQ 3%@[612] VDD_IN 5263mW/1mW"

    def make(self, path, text):
        path = os.path.join(self.folder, path)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "w") as file:
            file.write(text)
        return path

    def test_its_sensors_and_tegrastats_are_read(self):
        """A thermal zone and a running tegrastats are read; tegrastats has ended afterwards."""
        self.make("sys/class/thermal/thermal_zone0/type", "gpu-thermal\n")
        self.make("sys/class/thermal/thermal_zone0/temp", "45968\n")
        program = self.make("tegrastats", "#!/bin/sh\nwhile :; do echo '%s'; sleep 0.1; done\n" % self.LINE)
        os.chmod(program, 0o700)
        board = BoardSampler(time.monotonic(), os.path.join(self.folder, "sys"), program)
        sampler = telemetry.Sampler(os.getpid(), instruments=board)
        end = time.monotonic() + 10
        while "load.gpu" not in sampler.values and time.monotonic() < end:
            sampler.take(time.monotonic())
            time.sleep(0.05)
        report = sampler.report()
        sampler.close()
        self.assertEqual(report["temperature.gpu-thermal"][-1], 45.968)
        self.assertEqual(report["load.gpu"][-1], 0.03)
        self.assertEqual(report["clock.gpu"][-1], 612000000)
        self.assertEqual(report["power.total"][-1], 5.263)
        self.assertEqual(report["sources"]["power.total"], "VDD_IN")
        self.assertEqual(report["not_readable"], {})
        with self.assertRaises(OSError):
            os.waitpid(-1, os.WNOHANG)  # no child is left, not even a zombie

    def test_a_program_that_cannot_start_gives_a_reason(self):
        """A program that cannot be started raises nothing; its reason is recorded."""
        program = self.make("tegrastats", "no program")
        reader = TegrastatsProcess(program, 0.0)
        self.assertEqual(reader.latest(1.0), {})
        self.assertIn("cannot be started", reader.why)


class OnnxRuntime(unittest.TestCase):
    """ONNX Runtime in this process."""

    def test_it_builds_loads_and_runs(self):
        """A model builds, loads, runs and profiles, and invalid input is rejected."""
        model = os.environ["HIL_MODEL"]
        driver = runtime("onnxruntime")
        self.assertEqual(driver.build(model, "fp32", {}, "").path, model)
        engine = driver.load(model, {"threads": 1})
        feed = {"x": np.ones((2, 4), np.float32)}
        engine.check(feed)
        self.assertEqual(engine.bind(feed).run()[0].shape, (2, 3))
        self.assertIn("MatMul", {cost.op for cost in engine.profile(feed, 5)})
        for bad in ({}, {"x": feed["x"][0]}, {"x": feed["x"].astype(np.float64)}, {"x": np.ones((2, 5), np.float32)}):
            with self.assertRaises(Failure):
                engine.check(bad)
        self.assertIsNotNone(driver.reason_against("fp16"))


class WithoutTensorRt(unittest.TestCase):
    """TensorRT and CUDA where neither is installed."""

    def test_modules_import_and_the_runtime_has_a_reason(self):
        """Every module of both imports without them; the runtime then has no version, and a reason."""
        for package in ("tensorrt", "cuda"):
            parent = importlib.import_module("hil_agent.runtimes." + package)
            for module in pkgutil.iter_modules(parent.__path__):
                importlib.import_module(parent.__name__ + "." + module.name)
        driver = runtime("tensorrt")
        self.assertIsNone(driver.version())
        self.assertIn("tensorrt", driver.reason_why())


if __name__ == "__main__":
    unittest.main()
