"""Run sessions of the bundled digits model one after another, and compare neighbours.

Each session and each comparison is stored in ``rows.jsonl`` before the next one begins, so that an interrupted run can
continue.
"""

from __future__ import annotations

import json
import math
import os
import shutil
import statistics
import subprocess
import sys
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

from benchmarks.sessions.disturbing import DISTURBANCES, Disturb
from benchmarks.slowed import ROOT, slowed
from hil.compare import Document
from hil.history import open_history
from hil.history.session_noise import SessionNoises
from hil.stats.power import runs_needed
from hil.stats.runs import FEWEST
from hil.stats.session_noise import sd_and_df

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    Row = dict[str, Any]

RUNS = 7
"""Runs of a session of the chain, ``--hil-runs``."""

ROUND = (*("",) * 3, "neighbour", *("",) * 5, "limit", *("",) * 2)
"""The disturbances of successive sessions, repeated in this order. One session in six is disturbed, so a third of the
pairs of neighbours is disturbed, on one side only."""

OPERANDS = 11
"""Constants in the added node of the slowed model: about 5 % of the time of an inference on our machine."""

SLOWDOWN, COMPARISONS = 0.05, 10
LOCAL = """[targets.cpu]
kind    = "local"
runtime = "onnxruntime"
store   = "{store}"
threads = {threads}
"""
CONFIG = """# Written by the benchmarks of pytest-hil.
{target}
[models.digits]
path       = "model.onnx"
precisions = {precisions}
data       = "{data}/validation.npz"
task       = "classification"

[models.digits.calibration]
data    = "{data}/calibration.npz"
samples = 256
method  = "entropy"

[models.digits.limits]
latency         = {{ p50 = "5 ms", p90 = "10 ms", p99 = "20 ms" }}
cold_load       = "5 s"
first_inference = "1 s"
"""


QUICK = """
[measure]
warmup       = "50 ms"
duration     = "300 ms"
budget       = "600 ms"
run_duration = "100 ms"
"""


class Chain:
    """The project in ``folder``, with its recorded rows; with ``quick`` its series are short.

    ``table`` is the TOML table of the target, by default this machine, and ``disturbances`` are those of sessions, by
    name.
    """

    def __init__(
        self,
        folder: Path,
        *,
        quick: bool = False,
        table: tuple[str, str] = ("cpu", LOCAL),
        disturbances: Mapping[str, Disturb] = DISTURBANCES,
    ) -> None:
        self._measure = QUICK if quick else ""
        (self._target, self._table), self._disturbances = table, disturbances
        self.folder = folder.absolute()
        self.folder.mkdir(parents=True, exist_ok=True)
        self._record = self.folder / "rows.jsonl"
        lines = self._record.read_text(encoding="utf-8").splitlines() if self._record.exists() else []
        self.rows: list[Row] = [json.loads(line) for line in lines]

    def pairs(self, count: int, notify: Callable[[str], None]) -> None:
        """Run sessions until ``count`` pairs of neighbouring sessions are compared."""
        self._configure(["fp32", "int8"])
        for number in range(count + 1):
            at = ROUND[number % len(ROUND)]
            session = self._session("chain", number, "plain", RUNS, at)
            if number == 0:
                continue
            before = ROUND[(number - 1) % len(ROUND)]
            row = self._compared("pair", number, [self._id("chain", number - 1)], [session])
            if row is not None:
                self._add({**row, "disturbed": [before, at]})
                notify(f"pair {number} of {count}: {_summary(self.rows[-1])}")

    def one_sided(self, notify: Callable[[str], None]) -> None:
        """Compare an undisturbed session with one of each disturbance, and with another undisturbed session."""
        self._configure(["fp32"])
        base = self._session("one-sided", 0, "plain", RUNS)
        for number, name in enumerate(("", *self._disturbances), 1):
            session = self._session("one-sided", number, "plain", RUNS, name)
            row = self._compared("one-sided", number, [base], [session])
            if row is not None:
                self._add({**row, "disturbed": ["", name]})
                notify(f"{self._target}, {name or 'undisturbed'}: {_summary(self.rows[-1])}")

    def slowdowns(self, count: int, notify: Callable[[str], None]) -> None:
        """Run ``count`` comparisons of the model with its slowed copy, with runs and sessions as the planner decides.

        Sessions of the model and of the copy alternate. If a side has several sessions, neighbouring comparisons share
        some.
        """
        runs, sessions = self._planned()
        self._configure(["fp32"])
        for number in range(count + sessions - 1):
            ids = [self._session("slowdown", number, variant, runs) for variant in ("plain", "slowed")]
            if number + 1 < sessions:
                continue
            window = range(number + 1 - sessions, number + 1)
            sides = [[self._id("slowdown", at, variant) for at in window] for variant in ("plain", "slowed")]
            assert ids == [side[-1] for side in sides]  # noqa: S101 - a benchmark's own bookkeeping
            row = self._compared("slowdown", number + 2 - sessions, *sides)
            if row is not None:
                self._add({**row, "runs": runs, "sessions": sessions})
                notify(f"slowdown {row['number']} of {count}: {_summary(self.rows[-1])}")

    def _planned(self) -> tuple[int, int]:
        """Return how many runs and sessions per side the planner asks for; stored after the first call."""
        known = next((row for row in self.rows if row["kind"] == "plan"), None)
        if known is None:
            ids = [row["id"] for row in self.rows if row["kind"] == "session" and not row["disturbed"]]
            with open_history(self._history, read_only=True, base=self.folder) as history:
                points = history.points(ids[-2:], model="digits", precision="fp32", checks=["latency.p50"])
                noise = SessionNoises(history).of(points)
            logs = [[math.log(value) for value in point.runs] for point in points]
            sd = math.sqrt(statistics.fmean(map(statistics.variance, logs)))
            between, df = sd_and_df(noise)
            runs = None if between is None else runs_needed(sd, SLOWDOWN, noise=between, noise_df=df)
            sessions = 1
            if runs is None:
                runs = RUNS
                sessions = runs_needed(math.hypot(between or 0.0, sd / math.sqrt(RUNS)), SLOWDOWN) or FEWEST
            known = {"kind": "plan", "runs": runs, "sessions": sessions, "sd": sd, "noise": between, "df": df}
            self._add(known)
        return known["runs"], known["sessions"]

    @property
    def _history(self) -> str:
        return f"sqlite:///{self.folder}/.hil/history.db"

    def _configure(self, precisions: list[str]) -> None:
        """Write ``hil.toml`` and both variants of the model."""
        data = ROOT / "examples" / "digits"
        target = self._table.format(store=self.folder / "store", threads=len(os.sched_getaffinity(0)))
        text = CONFIG.format(target=target, precisions=json.dumps(precisions), data=data)
        (self.folder / "hil.toml").write_text(text + self._measure, encoding="utf-8")
        shutil.copy(data / "model.onnx", self.folder / "plain.onnx")
        slowed("digits", self.folder / "slowed.onnx", OPERANDS)

    def _session(self, chain: str, number: int, variant: str, runs: int, disturbed: str = "") -> str:
        """Run one session unless it is stored; return the id of its run."""
        if known := self._id(chain, number, variant):
            return known
        shutil.copy(self.folder / f"{variant}.onnx", self.folder / "model.onnx")
        report = self.folder / "report" / "report.json"
        report.unlink(missing_ok=True)
        command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--pyargs", "hil.suites"]
        command += [f"--target={self._target}", "--hil-model=digits", "-k", "latency", f"--hil-runs={runs}"]
        running: list[subprocess.Popen[str]] = []
        disturb = self._disturbances[disturbed] if disturbed else nullcontext
        with disturb(lambda: running[0].pid if running else None):
            running.append(_started(command, self.folder))
            output, _ = running[0].communicate()
        made: Row = json.loads(report.read_text(encoding="utf-8")) if report.exists() else {"status": "missing"}
        if made["status"] != "complete":
            raise SystemExit(f"session {number} of {chain}: its report is {made['status']}:\n{output}")
        about = {"chain": chain, "number": number, "variant": variant, "disturbed": disturbed}
        self._add({"kind": "session", **about, "id": made["run"]["id"]})
        return str(made["run"]["id"])

    def _id(self, chain: str, number: int, variant: str = "plain") -> str:
        key = ("session", chain, number, variant)
        fields = ("kind", "chain", "number", "variant")
        return next((str(row["id"]) for row in self.rows if tuple(map(row.get, fields)) == key), "")

    def _compared(self, kind: str, number: int, base: list[str], cand: list[str]) -> Row | None:
        """Run ``hil compare`` on two sides and return the result as a row; ``None`` if that row is stored already."""
        if any((row["kind"], row.get("number")) == (kind, number) for row in self.rows):
            return None
        names = [self._named(f"{kind}-{number}-{at}", ids) for at, ids in enumerate((base, cand))]
        file = self.folder / "compared.json"
        file.unlink(missing_ok=True)
        output, code = _hil(self.folder, "compare", *names, "--json", str(file))
        if not file.exists():
            raise SystemExit(f"{kind} {number} was not compared:\n{output}")
        (comparison,) = Document.model_validate_json(file.read_text(encoding="utf-8")).comparisons
        shown = {"check", "precision", "status", "counts", "effect", "low", "high", "noise", "control"}
        rows = [row.model_dump(mode="json", include=shown) for row in comparison.rows]
        return {"kind": kind, "number": number, "code": code, "rows": rows}

    def _named(self, name: str, ids: list[str]) -> str:
        if len(ids) == 1:
            return ids[0]
        output, code = _hil(self.folder, "history", "baseline", name, *ids, "--why", "benchmark", "--who", "benchmark")
        if code:
            raise SystemExit(f"baseline {name}: {output}")
        return name

    def _add(self, row: Row) -> None:
        self.rows.append(row)
        with self._record.open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")


def _started(command: list[str], folder: Path) -> subprocess.Popen[str]:
    env = {**os.environ, "XDG_CACHE_HOME": str(folder / "cache")}  # chains do not wait for each other's targets
    return subprocess.Popen(command, cwd=folder, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def _hil(folder: Path, *arguments: str) -> tuple[str, int]:
    script = "import sys; from hil.cli import main; sys.exit(main())"
    running = _started([sys.executable, "-c", script, *arguments], folder)
    output, _ = running.communicate()
    return output, running.returncode


def _summary(row: Row) -> str:
    p50 = (each for each in row["rows"] if each["check"] == "latency.p50")
    texts = [f"{each['precision']} {each['status']} {_changes(each)}" for each in p50]
    disturbed = " ".join(filter(None, row.get("disturbed", ())))
    return f"{', '.join(texts)}; exit code {row['code']}{f'; {disturbed}' if disturbed else ''}"


def _changes(row: Row) -> str:
    control = row["control"]
    return f"{_percent(row['effect'])} (control {_percent(control and control['effect'])})"


def _percent(change: float | None) -> str:
    return "none" if change is None else f"{100 * change:+.1f} %"
