"""Exports latency series to pytest-benchmark, for dashboards that read its JSON.

A timer of ours (``Replay``) replays the durations that were measured on the target. Nothing is exported unless
pytest-benchmark is loaded.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Generator
    from pathlib import Path

    from _pytest.terminal import TerminalReporter

    from hil.session.outcome import Outcome

NAME = "hil-benchmarks"
PERCENTILES = ("latency.p50", "latency.p90", "latency.p99")
"""The checks that are judged from one saturated series; the first of them that runs exports it."""


class Replay:
    """A timer for pytest-benchmark that replays recorded durations, in seconds.

    pytest-benchmark calls ``restart`` before each round, and ``step`` as the function to time.
    """

    __name__ = "hil.target"  # the option "timer" in pytest-benchmark's JSON

    def __init__(self, seconds: list[float]) -> None:
        self._now = 0.0
        self._pending = iter(seconds)

    def __call__(self) -> float:
        """Return the replayed time, in seconds since this round began."""
        return self._now

    def restart(self) -> None:
        """Begin a round: set the time to 0."""
        self._now = 0.0

    def step(self) -> None:
        """Set the time to the next recorded duration; to 0 if none is left."""
        self._now = next(self._pending, 0.0)


def register(config: pytest.Config) -> None:
    """Register ``Benchmarks`` if pytest-benchmark is loaded (installed, without ``-p no:benchmark``)."""
    if config.pluginmanager.hasplugin("benchmark") and not config.pluginmanager.hasplugin(NAME):
        config.pluginmanager.register(Benchmarks(), NAME)


def export(request: pytest.FixtureRequest, outcome: Outcome, folder: Path, tell: Callable[[str], None]) -> None:
    """Export the latency series of ``outcome``, if it has one, once for each model and precision.

    ``folder`` is the report's folder. If the export fails, ``tell`` is called with the message; nothing is raised.
    """
    plugin: Any = request.config.pluginmanager.get_plugin(NAME)
    if plugin is None:
        return
    try:
        plugin.export(request, outcome, folder)
    except (Exception, pytest.skip.Exception) as error:  # noqa: BLE001 - a failed export must not change a verdict
        if not isinstance(error, pytest.skip.Exception):
            tell(f"{outcome.result.name}: not exported to pytest-benchmark: {type(error).__name__}: {error}")


def _is_disabled(config: pytest.Config) -> bool:
    """Return whether pytest-benchmark times nothing: with ``--benchmark-disable``, or under xdist."""
    return bool(getattr(getattr(config, "_benchmarksession", None), "disabled", False))


class Benchmarks:
    """The hooks of pytest and pytest-benchmark that the export needs; remembers which series were exported."""

    def __init__(self) -> None:
        self._done: set[tuple[str, str]] = set()
        self._outcome: Outcome | None = None
        self._saved: list[dict[str, Any]] = []

    def export(self, request: pytest.FixtureRequest, outcome: Outcome, folder: Path) -> None:
        """Export the latency series of ``outcome``, if it has one and it was not exported before. Errors are raised.

        Do nothing for a test that uses the fixture ``benchmark`` itself, and if pytest-benchmark times nothing.
        """
        result = outcome.result
        key = (result.model, result.precision)
        has_benchmark = "benchmark" in request.node.fixturenames  # a user's test, which fills the fixture itself
        file = result.details.get("samples")
        if result.id not in PERCENTILES or key in self._done or has_benchmark:
            return
        # Requesting a fixture that is disabled, as under xdist, would give a warning that it was not used.
        if file is None or result.measurement is None or _is_disabled(request.config):
            return
        import numpy as np

        with np.load(folder / file, allow_pickle=False) as arrays:
            seconds = arrays["duration"].tolist()
        clock = Replay(seconds)
        request.node.add_marker(pytest.mark.benchmark(timer=clock))
        benchmark = request.getfixturevalue("benchmark")
        if benchmark.disabled:
            return
        self._done.add(key)
        self._outcome = outcome
        case = "-".join(key)
        # Named after the engine: the name must not depend on which of the three percentile tests ran first.
        benchmark.name = benchmark.fullname = f"latency[{case}]"
        benchmark.param, benchmark.params = case, {"model": result.model, "precision": result.precision}
        benchmark.extra_info.update(about(outcome))
        benchmark.pedantic(clock.step, setup=clock.restart, rounds=len(seconds), iterations=1)

    @pytest.hookimpl(wrapper=True)
    def pytest_collection_modifyitems(self, config: pytest.Config, items: list[pytest.Item]) -> Generator[None]:
        """Make ``--benchmark-only`` select the tests whose series become benchmarks."""
        ours = [item for item in items if _is_series(item)] if config.getoption("benchmark_only", default=False) else []
        lists: list[list[str]] = [names for item in ours if "benchmark" not in (names := _fixturenames(item))]
        for names in lists:
            names.append("benchmark")
        try:
            yield
        finally:
            for names in lists:
                if "benchmark" in names:  # several tests may share one list
                    names.remove("benchmark")

    def pytest_benchmark_update_machine_info(self, machine_info: dict[str, Any]) -> None:
        """Describe the timed device. If the target is not this machine, this machine's facts move to ``host``."""
        if self._outcome is None:
            return
        facts = self._outcome.target.get("facts", {})
        if self._outcome.target.get("kind") != "local":
            host = dict(machine_info)
            machine_info.clear()
            machine_info.update(_machine(facts), host=host)
        machine_info["hil"] = device(self._outcome)

    @pytest.hookimpl(wrapper=True)
    def pytest_benchmark_compare_machine_info(
        self, machine_info: dict[str, Any], compared_benchmark: dict[str, Any]
    ) -> Generator[None]:
        """Prevent pytest-benchmark's own comparison of machines. ``pytest_terminal_summary`` makes the comparison."""
        saved, now = compared_benchmark.get("machine_info", {}), dict(machine_info)
        if "hil" in saved:
            self._saved.append(saved)
            machine_info.clear()
            machine_info.update(saved)
        yield
        machine_info.clear()
        machine_info.update(now)

    def pytest_terminal_summary(self, terminalreporter: TerminalReporter) -> None:
        """Warn if a saved file in the comparison was measured on another device."""
        if self._outcome is None:
            return
        now = device(self._outcome)
        for saved in self._saved:
            then = saved["hil"]
            differing = [key for key in sorted({*now, *then}) if now.get(key) != then.get(key)]
            if differing:
                changes = ", ".join(f"{key} was {then.get(key)}, is {now.get(key)}" for key in differing)
                terminalreporter.write_line(
                    f"warning: benchmarks are compared with those of another device: {changes}", yellow=True
                )


def _is_series(item: pytest.Item) -> bool:
    marker = item.get_closest_marker("hil")
    return marker is not None and marker.args[:1] in [(check,) for check in PERCENTILES]


def _fixturenames(item: pytest.Item) -> list[str]:
    names = getattr(item, "fixturenames", None)
    return names if isinstance(names, list) else []


def _machine(facts: dict[str, Any]) -> dict[str, Any]:
    """Return the target's facts under pytest-benchmark's keys for a machine."""
    cpu = facts.get("cpu_model")
    return {
        "node": facts.get("hostname"),
        "processor": cpu,
        "machine": facts.get("machine"),
        "python_version": facts.get("python"),
        "release": facts.get("kernel"),
        "system": facts.get("system"),
        "cpu": {"brand_raw": cpu, "arch": facts.get("machine"), "count": facts.get("cores")},
    }


def device(outcome: Outcome) -> dict[str, Any]:
    """Return the facts of the timed device: target, evidence, board and versions; unknown values are ``None``."""
    facts, result = outcome.target.get("facts", {}), outcome.result
    identity = facts.get("identity") or {}
    environment = next(iter(outcome.environments.values()), {})
    engine: dict[str, Any] = next(iter(outcome.engines), {})
    gpu = environment.get("accelerator") or {}
    return {
        "target": result.target.requested,
        "used": result.target.used,
        "kind": outcome.target.get("kind"),
        "evidence": None if result.evidence is None else result.evidence.value,
        "board": outcome.target.get("board"),
        **{key: identity.get(key) for key in ("module", "serial", "jetpack", "l4t", "power_mode")},
        "runtime": engine.get("runtime"),
        "runtime_version": engine.get("runtime_version"),
        "gpu": gpu.get("gpu"),
        "driver": gpu.get("driver"),
        "cuda": gpu.get("cuda"),
        "hostname": facts.get("hostname"),
        "cpu_model": facts.get("cpu_model"),
    }


def about(outcome: Outcome) -> dict[str, Any]:
    """Return the facts of the series of ``outcome``: the digests of engine, method and environment, and others.

    Unknown values are ``None``.
    """
    result = outcome.result
    measurement, executed_on = result.measurement, result.executed_on
    return {
        "target": result.target.requested,
        "used": result.target.used,
        "evidence": None if result.evidence is None else result.evidence.value,
        "executed_on": None if executed_on is None else f"{executed_on.kind} {executed_on.name}",
        "engine": result.engine,
        "method": None if measurement is None else measurement.method,
        "environment": None if measurement is None else measurement.environment,
        "samples": result.details.get("samples"),
    }
