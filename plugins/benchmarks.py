"""Latency series as benchmarks of pytest-benchmark, for the dashboards that read its JSON. It judges nothing here.

Fed by its public API: a timer that replays what was measured on the target. Registered only where that plugin is
loaded; whatever it does, also nothing, changes no verdict.
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
"""The checks that one saturated series answers: it is exported by the first of them."""


class Replay:
    """A timer that gives out durations measured elsewhere; each round starts at 0, so that none is rounded."""

    __name__ = "hil.target"  # the option "timer" in pytest-benchmark's JSON

    def __init__(self, seconds: list[float]) -> None:
        self._now = 0.0
        self._pending = iter(seconds)

    def __call__(self) -> float:
        """The time in seconds since this round began."""
        return self._now

    def restart(self) -> None:
        """Begins a round."""
        self._now = 0.0

    def step(self) -> None:
        """One inference; a call too many, as for a profile, takes no time."""
        self._now = next(self._pending, 0.0)


def register(config: pytest.Config) -> None:
    """Gets ready where pytest-benchmark is: installed and not switched off by ``-p no:benchmark``."""
    if config.pluginmanager.hasplugin("benchmark") and not config.pluginmanager.hasplugin(NAME):
        config.pluginmanager.register(Benchmarks(), NAME)


def export(request: pytest.FixtureRequest, outcome: Outcome, folder: Path, tell: Callable[[str], None]) -> None:
    """Makes the row's series a benchmark if it has one, once a model and precision; what goes wrong is only told."""
    plugin: Any = request.config.pluginmanager.get_plugin(NAME)
    if plugin is None:
        return
    try:
        plugin.export(request, outcome, folder)
    except (Exception, pytest.skip.Exception) as error:  # noqa: BLE001 - an export never decides what is judged
        if not isinstance(error, pytest.skip.Exception):
            tell(f"{outcome.result.name}: no benchmark was made of it: {type(error).__name__}: {error}")


class Benchmarks:
    """Hooks of pytest and pytest-benchmark, and what was exported so far."""

    def __init__(self) -> None:
        self._done: set[tuple[str, str]] = set()
        self._outcome: Outcome | None = None
        self._saved: list[dict[str, Any]] = []

    def export(self, request: pytest.FixtureRequest, outcome: Outcome, folder: Path) -> None:
        """Raises what pytest-benchmark raises."""
        result = outcome.result
        key = (result.model, result.precision)
        theirs = "benchmark" in request.node.fixturenames  # a user's own test, which fills it by itself
        file = result.details.get("samples")
        if result.id not in PERCENTILES or key in self._done or theirs or file is None or result.measurement is None:
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
        # Named after what was timed: which of the three tests came first must not make it another benchmark.
        benchmark.name = benchmark.fullname = f"latency[{case}]"
        benchmark.param, benchmark.params = case, {"model": result.model, "precision": result.precision}
        benchmark.extra_info.update(about(outcome))
        benchmark.pedantic(clock.step, setup=clock.restart, rounds=len(seconds), iterations=1)

    @pytest.hookimpl(wrapper=True)
    def pytest_collection_modifyitems(self, config: pytest.Config, items: list[pytest.Item]) -> Generator[None]:
        """Has ``--benchmark-only`` leave the tests in whose series become benchmarks."""
        ours = [item for item in items if _is_series(item)] if config.getoption("benchmark_only", default=False) else []
        lists: list[list[str]] = [names for item in ours if "benchmark" not in (names := _fixturenames(item))]
        for names in lists:
            names.append("benchmark")
        try:
            yield
        finally:
            for names in lists:
                if "benchmark" in names:  # one list may be that of several tests
                    names.remove("benchmark")

    def pytest_benchmark_update_machine_info(self, machine_info: dict[str, Any]) -> None:
        """Says which device was timed; where that is another machine, this one's facts become those of the ``host``."""
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
        """Puts off the comparison of devices: pytest-benchmark asks before any target was reached."""
        saved, now = compared_benchmark.get("machine_info", {}), dict(machine_info)
        if "hil" in saved:
            self._saved.append(saved)
            machine_info.clear()
            machine_info.update(saved)
        yield
        machine_info.clear()
        machine_info.update(now)

    def pytest_terminal_summary(self, terminalreporter: TerminalReporter) -> None:
        """Tells how the device differs from that of a saved file it is compared with."""
        if self._outcome is None:
            return
        now = device(self._outcome)
        for saved in self._saved:
            then = saved["hil"]
            unlike = [key for key in sorted({*now, *then}) if now.get(key) != then.get(key)]
            if unlike:
                told = ", ".join(f"{key} was {then.get(key)}, is {now.get(key)}" for key in unlike)
                terminalreporter.write_line(
                    f"warning: benchmarks are compared with another device's: {told}", yellow=True
                )


def _is_series(item: pytest.Item) -> bool:
    marker = item.get_closest_marker("hil")
    return marker is not None and marker.args[:1] in [(check,) for check in PERCENTILES]


def _fixturenames(item: pytest.Item) -> list[str]:
    names = getattr(item, "fixturenames", None)
    return names if isinstance(names, list) else []


def _machine(facts: dict[str, Any]) -> dict[str, Any]:
    """The keys that pytest-benchmark gives a machine, as the probe read them on the target."""
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
    """What was timed: target, board, versions and what the verdicts stand on; ``None`` for what is not known."""
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
    """What belongs to one series: its engine, method and environment by digest, and the processor it ran on."""
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
