"""Untrusted text: what ``hil.text`` makes of it, and that all text from outside passes through it."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import is_dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from hil.agent.machine.survey import MARK
from hil.board import install
from hil.callables import UserCallable
from hil.checks.verdicts import failed
from hil.cli.views import starter
from hil.config.spec import DeploySpec
from hil.deploy.robot import Robot
from hil.diagnose import sentences as diagnosed
from hil.diagnose.diagnosis import Diagnosis
from hil.doctor import run_survey
from hil.errors import UserError
from hil.history.entries import Acceptance, RunRecord
from hil.history.rows import POINT_FIELDS, RUN_FIELDS, added_of, point_of, run_of
from hil.onnx_files.ort_errors import ort_error
from hil.onnx_files.signature import TensorSpec
from hil.report import html, markdown, terminal
from hil.report.canonical import report_digest
from hil.report.ci import code_quality, github
from hil.report.read_report import parse
from hil.report.write_report import sealed, to_json
from hil.results import CheckResult, TargetUse, Verdict
from hil.targets.answers import error_of
from hil.targets.client import AgentClient
from hil.targets.ssh import start_failures
from hil.targets.target import Done
from hil.text import LONGEST, clean, clean_lines, cleaned, joined
from tests.cli.views.test_starter import proposal
from tests.history import run_reports

if TYPE_CHECKING:
    from collections.abc import Callable

EVIL = (
    "ill\n::warning title=x::passed\n ##[error]y\r✓ deployed\x1b[2J\x1b]0;t\x07"
    "\x00\x7f\x9b1m\u202e\u2066\u200b\u2028\ud800 end"
)
"""Line ends before commands of CI systems, and characters that control a terminal or mislead a reader."""
CONTROLS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
COMMAND = re.compile(r"^\s*::[a-z]|##\[", re.MULTILINE)
USE = TargetUse(requested="cpu", used="cpu")


def texts(value: object) -> str:
    """Return all texts in a value, including keys, unescaped: ``repr`` and JSON would escape them."""
    if isinstance(value, Mapping):
        return texts([*value.keys(), *value.values()])
    if isinstance(value, BaseModel):
        return texts(value.model_dump())
    if is_dataclass(value) and not isinstance(value, type):
        return texts(vars(value))
    return "\n".join(map(texts, value)) if isinstance(value, (list, tuple)) else str(value)


def assert_safe(text: str) -> None:
    """Assert that ``text`` has no control character and no command of a CI system, and is not empty."""
    assert "ill" in text
    assert not CONTROLS.search(text), ascii(text)
    assert not COMMAND.search(text), ascii(text)


@given(st.text(st.characters(exclude_categories=()) | st.sampled_from(EVIL)), st.integers(1, 40))
def test_cleaned_text_has_no_control_characters(text: str, most: int) -> None:
    """Any text is cleaned, on one line or several; cleaning again changes nothing, and the length is bounded."""
    for function in (clean, clean_lines, joined):
        result = function(text)
        assert not CONTROLS.search(result)
        assert not COMMAND.search(result)
        assert function(result) == result
    assert len(clean(text).splitlines()) <= 1
    assert len(joined(text).splitlines()) <= 1
    assert len(clean(text, most)) <= most
    assert len(clean("x" * 3 * LONGEST)) == LONGEST


@pytest.mark.parametrize(
    "text",
    [
        "scores",
        "Größe 7 µs – 12 %",
        "C:\\models\\a.onnx",
        "onnxruntime::Gemm",
        "host ::1",
        "# a ## b",
        "モデル",
        "a\xa0b",
    ],
)
def test_plain_text_stays(text: str) -> None:
    """Text in any language, paths and C++ names are unchanged."""
    assert clean(text) == clean_lines(text) == text


def test_distinct_names_stay_distinct() -> None:
    """Keys that would be equal after cleaning are not merged."""
    result = cleaned({"a\n": 1, "a\\n": 2, "log": "b\n\x1b", "c": [{"d\x1b": "e\n"}]})
    assert list(result.values())[:2] == [1, 2]
    assert result["log"] == "b\n\\x1b"
    assert result["c"] == [{"d\\x1b": "e\\n"}]


def deep(levels: int) -> Any:
    """Return ``levels`` nested lists around the hostile text."""
    value: Any = EVIL
    for _ in range(levels):
        value = [value]
    return value


def test_depth_is_bounded() -> None:
    """Deep nesting is cut off."""
    assert "ill" in json.dumps(cleaned(deep(50)))
    assert "ill" not in json.dumps(cleaned(deep(900)))


class FixedAnswer(AgentClient):
    """A client whose agent gives this answer to each request."""

    def __init__(self, **ok: Any) -> None:
        self.answer = {"ok": ok}
        self.target = "rover"

    def ask_raw(self, *_: Any, **__: Any) -> Any:
        """Return the answer after the client's own checks."""
        return self._checked(self.answer, np.empty(0, np.uint8))


def listing() -> str:
    """Return the texts of a robot's releases, damage, holder and history."""
    manifest = {"engines": [{"model": EVIL}]}
    agent = FixedAnswer(
        there=True,
        damage=EVIL,
        holder={"who": EVIL},
        history=[{"kind": EVIL, "text": EVIL}],
        releases=[{"release": "0" * 64, "healthy": True, "manifest": manifest}],
    )
    robot = Robot("rover", DeploySpec.model_construct(directory="~/releases"), agent, lambda *_: None)
    return texts(robot.listing())


def steps() -> str:
    """Return the steps and the outcome that a robot reports while it switches releases."""
    lines = [{"step": EVIL, "text": EVIL}, {"step": "end unhealthy", "text": EVIL}]
    shown: list[str] = []
    agent = FixedAnswer(steps=lines, current=None, ended=True)
    robot = Robot("rover", DeploySpec.model_construct(directory=""), agent, lambda *words: shown.extend(words))
    return "\n".join([*shown, robot.activate("forward").text])


def engine() -> str:
    """Return the texts of a build: log, facts and warnings."""
    digest = "0" * 64
    facts = {"runtime_version": EVIL, EVIL: EVIL}
    build = {"key": digest, "digest": digest, "size": 1, "seconds": 1, "cached": False, "log": EVIL, "facts": facts}
    built = FixedAnswer(**build, about={"warnings": [EVIL]}).build(digest, "fp32", "onnxruntime", {}, 1)
    return texts(built)


def worker() -> str:
    """Return the texts of a loaded engine. Names of tensors stay unchanged for binding, and are cleaned when shown."""
    port = {"name": EVIL, "dtype": "float32", "shape": ["n"]}
    loaded = FixedAnswer(worker=1, pid=2, outputs=[port], load={EVIL: EVIL}, about={"flags": EVIL}).load("key", {}, 1)
    assert loaded.outputs[0].name == EVIL
    return "\n".join([*map(str, loaded.outputs), texts(loaded.load), texts(loaded.about)])


def facts() -> str:
    """Return the texts of a probe; numbers stay numbers."""
    probed = FixedAnswer(cpu=EVIL, cores=4, board={EVIL: [EVIL, 1.5]}).probe()
    assert probed["cores"] == 4
    return texts(probed)


def surveyed() -> str:
    """Return the texts of a survey, as for ``hil doctor``, ``hil probe`` and ``hil targets``."""
    out = b"banner\n" + MARK + json.dumps({"holder": {"who": EVIL}, "runtimes": {EVIL: EVIL}}).encode() + b"\n"
    return texts(run_survey._facts(Done(0, out, b"")))  # noqa: SLF001 - where the text enters


def report() -> Any:
    """Return a report in which each kind of text is hostile, as it is written."""
    draft = run_reports.draft(1)
    hostile = {"verdict": Verdict.FAILED, "reason": EVIL, "advice": (EVIL,), "details": {EVIL: {"output": EVIL}}}
    checks = (draft.checks[0].model_copy(update=hostile), *draft.checks[1:])
    run = draft.run.model_copy(update={"host": EVIL, "arguments": (EVIL,), "lab_error": EVIL})
    target = draft.target.model_copy(update={"facts": {EVIL: [EVIL]}, "fallback_reason": EVIL})
    engines = tuple(used.model_copy(update={"log": EVIL, "about": {EVIL: EVIL}}) for used in draft.engines)
    changes = {"checks": checks, "run": run, "target": target, "engines": engines, "reasons": (EVIL,)}
    return sealed(draft.model_copy(update=changes))


def foreign_report() -> str:
    """Return the texts of a hostile report with a valid digest, as it is read."""
    document = json.loads(to_json(report()))
    document["checks"][0] |= {"reason": EVIL, "details": {EVIL: EVIL}}
    document["run"]["host"] = EVIL
    document["digest"] = report_digest(document)
    return texts(parse(json.dumps(document).encode()))


def row(kind: Any) -> str:
    """Return the texts of a row of a history's table."""
    values: Any = dict.fromkeys([*RUN_FIELDS, *POINT_FIELDS, "commit_id", "check_id", "who", "why", "run"], EVIL)
    values |= {"started": "2026-01-01T00:00:00+00:00", "at": "2026-01-01T00:00:00+00:00", "runs": "[]"}
    return texts(run_of(values) if kind is RunRecord else added_of(kind, values))


def point() -> str:
    """Return the texts of a measured point in a history."""
    values: Any = dict.fromkeys([*RUN_FIELDS, *POINT_FIELDS, "commit_id", "check_id"], EVIL)
    values |= {"started": "2026-01-01T00:00:00+00:00", "runs": "[]"}
    values["control"] = json.dumps({"workload": EVIL, "windows": 1, "median": 1, "spread": 0})
    values["disturbed"] = json.dumps([EVIL])
    return texts(point_of(values, run_of(values)))


def mistakes() -> str:
    """Return errors of ONNX Runtime and of the user's code, and a message of several lines."""
    with pytest.raises(UserError) as caught:
        _ = UserCallable("own:metric", "toy", _raising, "")()
    messages = [str(ort_error(RuntimeError(EVIL), Path("m.onnx"), "while running")), str(caught.value)]
    return texts([*messages, str(UserError("hil.toml:1: unknown key", EVIL)).partition("\n")[2]])


def _raising() -> None:
    raise ValueError(EVIL)


BOUNDARIES: dict[str, Callable[[], str]] = {
    "an error's message": lambda: str(UserError(EVIL)),
    "a runtime's and a callable's error": mistakes,
    "a judgement": lambda: texts(failed(EVIL, {EVIL: EVIL})),
    "a row's result": lambda: texts(
        CheckResult(id="a.b", required=True, verdict=Verdict.FAILED, reason=EVIL, target=USE)
    ),
    "a model's tensor": lambda: str(TensorSpec(EVIL, "float32", (EVIL, None))),
    "a model in hil.toml": lambda: starter.starter([starter.model_table(proposal(EVIL, EVIL), EVIL, "a")]),
    "a diagnosis": lambda: "\n".join(diagnosed.lines(Diagnosis("fp16", 1, 1, 1, {}, {}, notes=(EVIL,)))),
    "an agent's error": lambda: str(error_of({"kind": "build", "message": EVIL, "advice": EVIL}, "rover")),
    "a robot's releases": listing,
    "a robot's steps": steps,
    "an engine's build": engine,
    "a loaded engine": worker,
    "a machine's facts": facts,
    "a machine that is surveyed": surveyed,
    "a machine's interpreter": lambda: texts(
        start_failures.parse_facts(b"hil-inspect path " + EVIL.replace("\n", " ").encode("utf-8", "replace"))
    ),
    "root's answer on a board": lambda: texts(install._object(json.dumps({"error": EVIL}).encode())),  # noqa: SLF001 - where the text enters
    "root's last words": lambda: install._shown(b"ill \x1b[2J\xff\xc2\x9b"),  # noqa: SLF001 - as above
    "report.json": lambda: to_json(report()) + texts(report()),
    "somebody else's report.json": foreign_report,
    "the page": lambda: html.render(report()),
    "the summary": lambda: markdown.render(report()),
    "the terminal": lambda: terminal.as_text(report()),
    "GitLab": lambda: texts(code_quality(report(), "hil.toml")),
    "GitHub": lambda: re.sub("^::(error|warning) ", "", "\n".join(github(report(), None)), flags=re.MULTILINE),
    "a run in a history": lambda: row(RunRecord),
    "a point in a history": point,
    "an acceptance in a history": lambda: row(Acceptance),
}


@pytest.mark.parametrize("boundary", BOUNDARIES)
def test_hostile_text_is_cleaned_at_each_boundary(boundary: str) -> None:
    """Hostile text from each source stays readable, without control characters and commands."""
    assert_safe(BOUNDARIES[boundary]())
