"""Text that others wrote: what ``hil.text`` makes of it, and that every way in goes through it."""

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
from hil.onnx_files.signature import Signature, TensorSpec
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
from tests.history import run_reports

if TYPE_CHECKING:
    from collections.abc import Callable

EVIL = (
    "ill\n::warning title=x::passed\n ##[error]y\r✓ deployed\x1b[2J\x1b]0;t\x07"
    "\x00\x7f\x9b1m\u202e\u2066\u200b\u2028\ud800 end"
)
"""Line ends that begin another program's command, and what a terminal or a reader's eye obeys."""
OBEYED = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
COMMAND = re.compile(r"^\s*::[a-z]|##\[", re.MULTILINE)
USE = TargetUse(requested="cpu", used="cpu")


def texts(value: object) -> str:
    """All texts in a value, keys too, as they are: ``repr`` and JSON would hide what is raw."""
    if isinstance(value, Mapping):
        return texts([*value.keys(), *value.values()])
    if isinstance(value, BaseModel):
        return texts(value.model_dump())
    if is_dataclass(value) and not isinstance(value, type):
        return texts(vars(value))
    return "\n".join(map(texts, value)) if isinstance(value, (list, tuple)) else str(value)


def nothing_raw(text: str) -> None:
    """Asserts that no terminal and no runner obeys anything in ``text``, and that the text is there."""
    assert "ill" in text
    assert not OBEYED.search(text), ascii(text)
    assert not COMMAND.search(text), ascii(text)


@given(st.text(st.characters(exclude_categories=()) | st.sampled_from(EVIL)), st.integers(1, 40))
def test_nothing_of_it_is_obeyed(text: str, most: int) -> None:
    """Whatever it is, on one line or on several; clean text stays as it is, and there is a bound."""
    for make in (clean, clean_lines, joined):
        made = make(text)
        assert not OBEYED.search(made)
        assert not COMMAND.search(made)
        assert make(made) == made
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
    """What people write in any language, paths and names of C++ are no danger."""
    assert clean(text) == clean_lines(text) == text


def test_two_names_stay_two() -> None:
    """Outputs whose names look alike once they are safe are not merged."""
    found = cleaned({"a\n": 1, "a\\n": 2, "log": "b\n\x1b", "c": [{"d\x1b": "e\n"}]})
    assert list(found.values())[:2] == [1, 2]
    assert found["log"] == "b\n\\x1b"
    assert found["c"] == [{"d\\x1b": "e\\n"}]


def deep(levels: int) -> Any:
    """A list in a list in …, with the text in the innermost."""
    made: Any = EVIL
    for _ in range(levels):
        made = [made]
    return made


def test_depth_is_bounded() -> None:
    """What is nested without end is cut off, and costs no stack."""
    assert "ill" in json.dumps(cleaned(deep(50)))
    assert "ill" not in json.dumps(cleaned(deep(900)))


class Answering(AgentClient):
    """A client that takes this answer for every request, as it would one that came over the wire."""

    def __init__(self, **ok: Any) -> None:
        self.answer = {"ok": ok}
        self.target = "rover"

    def ask_raw(self, *_: Any, **__: Any) -> Any:
        """The answer, as every one is taken."""
        return self._checked(self.answer, np.empty(0, np.uint8))


def listing() -> str:
    """A robot's releases, damage, holder and history."""
    manifest = {"engines": [{"model": EVIL}]}
    agent = Answering(
        there=True,
        damage=EVIL,
        holder={"who": EVIL},
        history=[{"kind": EVIL, "text": EVIL}],
        releases=[{"release": "0" * 64, "healthy": True, "manifest": manifest}],
    )
    found = Robot("rover", DeploySpec.model_construct(directory="~/releases"), agent, lambda *_: None).listing()
    return texts(found)


def steps() -> str:
    """What a robot reports while it switches, and how that ended."""
    lines = [{"step": EVIL, "text": EVIL}, {"step": "end unhealthy", "text": EVIL}]
    shown: list[str] = []
    agent = Answering(steps=lines, current=None, ended=True)
    robot = Robot("rover", DeploySpec.model_construct(directory=""), agent, lambda *words: shown.extend(words))
    return "\n".join([*shown, robot.activate("forward").text])


def engine() -> str:
    """What the runtime wrote while it built, facts and warnings of the engine, and its layers."""
    digest = "0" * 64
    facts = {"runtime_version": EVIL, EVIL: EVIL}
    made = {"key": digest, "digest": digest, "size": 1, "seconds": 1, "cached": False, "log": EVIL, "facts": facts}
    built = Answering(**made, about={"warnings": [EVIL]}).build(digest, "fp32", "onnxruntime", {}, 1)
    return texts(built)


def worker() -> str:
    """A loaded engine: names of tensors are bound by as they are, and shown safely; the rest is safe."""
    port = {"name": EVIL, "dtype": "float32", "shape": ["n"]}
    loaded = Answering(worker=1, pid=2, outputs=[port], load={EVIL: EVIL}, about={"flags": EVIL}).load("key", {}, 1)
    assert loaded.outputs[0].name == EVIL
    return "\n".join([*map(str, loaded.outputs), texts(loaded.load), texts(loaded.about)])


def facts() -> str:
    """What the probe reads of a machine; numbers stay numbers."""
    found = Answering(cpu=EVIL, cores=4, board={EVIL: [EVIL, 1.5]}).probe()
    assert found["cores"] == 4
    return texts(found)


def surveyed() -> str:
    """What a machine reports to ``hil doctor``, ``hil probe`` and ``hil targets``."""
    out = b"banner\n" + MARK + json.dumps({"holder": {"who": EVIL}, "runtimes": {EVIL: EVIL}}).encode() + b"\n"
    return texts(run_survey._facts(Done(0, out, b"")))  # noqa: SLF001 - the way in


def report() -> Any:
    """A report in which every kind of text is hostile, as it is written."""
    draft = run_reports.draft(1)
    wrong = {"verdict": Verdict.FAILED, "reason": EVIL, "advice": (EVIL,), "details": {EVIL: {"output": EVIL}}}
    checks = (draft.checks[0].model_copy(update=wrong), *draft.checks[1:])
    run = draft.run.model_copy(update={"host": EVIL, "arguments": (EVIL,), "lab_error": EVIL})
    target = draft.target.model_copy(update={"facts": {EVIL: [EVIL]}, "fallback_reason": EVIL})
    engines = tuple(one.model_copy(update={"log": EVIL, "about": {EVIL: EVIL}}) for one in draft.engines)
    changes = {"checks": checks, "run": run, "target": target, "engines": engines, "reasons": (EVIL,)}
    return sealed(draft.model_copy(update=changes))


def foreign_report() -> str:
    """Somebody else's report, whose digest is right, as it is read."""
    document = json.loads(to_json(report()))
    document["checks"][0] |= {"reason": EVIL, "details": {EVIL: EVIL}}
    document["run"]["host"] = EVIL
    document["digest"] = report_digest(document)
    return texts(parse(json.dumps(document).encode()))


def row(kind: Any) -> str:
    """A row of a history's table, whoever wrote it."""
    values: Any = dict.fromkeys([*RUN_FIELDS, *POINT_FIELDS, "commit_id", "check_id", "who", "why", "run"], EVIL)
    values |= {"started": "2026-01-01T00:00:00+00:00", "at": "2026-01-01T00:00:00+00:00", "runs": "[]"}
    return texts(run_of(values) if kind is RunRecord else added_of(kind, values))


def point() -> str:
    """As ``row``, of what was measured."""
    values: Any = dict.fromkeys([*RUN_FIELDS, *POINT_FIELDS, "commit_id", "check_id"], EVIL)
    values |= {"started": "2026-01-01T00:00:00+00:00", "runs": "[]"}
    return texts(point_of(values, run_of(values)))


def mistakes() -> str:
    """What ONNX Runtime and the user's own code raise, and a message of several lines."""
    with pytest.raises(UserError) as caught:
        _ = UserCallable("own:metric", "toy", _raising, "")()
    found = [str(ort_error(RuntimeError(EVIL), Path("m.onnx"), "while running")), str(caught.value)]
    return texts([*found, str(UserError("hil.toml:1: unknown key", EVIL)).partition("\n")[2]])


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
    "a model in hil.toml": lambda: starter.starter(Signature((TensorSpec(EVIL, "float32", (1,)),), ()), "a", "a", {}),
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
    "root's answer on a board": lambda: texts(install._object(json.dumps({"error": EVIL}).encode())),  # noqa: SLF001 - the way in
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
def test_nothing_raw_gets_past(boundary: str) -> None:
    """Hostile text through each way in: it is there to be read, and nothing in it is obeyed."""
    nothing_raw(BOUNDARIES[boundary]())
