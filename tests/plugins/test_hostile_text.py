"""Control sequences in an output's name, and a password in a URL, through the real command line."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import numpy as np
from onnx import helper

from hil.text import clean
from tests import models
from tests.plugins.project import CLASSES, FEATURES, SUITES, Project, samples, save

if TYPE_CHECKING:
    from pathlib import Path

EVIL = "out\n::warning title=x::pwned\n##[error]y\x1b[2J\r✓ passed\u202e\x9b1m"
TWIN = clean(EVIL)
"""Another output's name: equal to the escaped form of the first one's."""
CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2066-\u2069]")
COMMAND = re.compile(r"^\s*::warning title=x|##\[", re.MULTILINE)


def _in_a_pipeline(project: Project) -> list[Path]:
    """Set the environment of GitHub and GitLab; return the files that they, people and other tools read."""
    step = project.root / "step.md"
    project.env |= {"GITHUB_ACTIONS": "true", "GITHUB_STEP_SUMMARY": str(step), "GITLAB_CI": "true"}
    report = project.root / "report"
    names = ("report.json", "report.html", "summary.md", "gl-code-quality.json")
    return [step, project.root / "junit.xml", *(report / name for name in names)]


def test_an_outputs_name_is_obeyed_by_nothing(project: Project) -> None:
    """An output with control sequences in its name keeps this name and is shown as plain text everywhere."""
    nodes = [helper.make_node("MatMul", ["x", "w"], ["scores"], name=EVIL)]
    nodes += [helper.make_node("Identity", ["x"], [name], name=name) for name in (EVIL + "2", TWIN)]
    nodes[1].output[0] = EVIL
    weights = {"w": np.random.default_rng(7).normal(size=(FEATURES, CLASSES)).astype(np.float32)}
    sizes: dict[str, list[int | str]] = {"scores": ["batch", CLASSES], EVIL: ["batch", FEATURES]}
    sizes[TWIN] = sizes[EVIL]
    models.write(project.root / "toy.onnx", nodes, {"x": ["batch", FEATURES]}, sizes, weights)
    x = samples()["x"]
    save(project.root / "outputs.npz", {"scores": x @ weights["w"], EVIL: x, TWIN: x + 1})
    project.edit('task = "classification"', 'reference = "outputs.npz"')
    files = _in_a_pipeline(project)
    ran = project.run(*SUITES, "-k", "test_outputs or signature", "--target=cpu", "-rA", "--junitxml=junit.xml")
    assert ran.code == 1, ran.out
    outputs: list[dict[str, Any]] = ran.check("parity.outputs")["details"]["outputs"]
    assert [(output["output"], output["met"]) for output in outputs] == [(TWIN, False), ("scores", True), (TWIN, True)]
    shown = [ran.out, *(place.read_text(encoding="utf-8") for place in files)]
    parity = ("parity", "toy.onnx", "toy.onnx", "--data", "validation.npz")
    diagnose = ("diagnose", "toy", "--target", "cpu", "--precision", "fp32")
    shown += [project.hil(*command).out for command in (("gate", "report"), parity, diagnose)]
    for text in shown:
        assert not CONTROL.search(text), ascii(text[-4000:])
        assert not COMMAND.search(text), ascii(text[-4000:])
    assert "pwned" in ran.out


def test_an_inputs_name_leaves_the_report_whole(project: Project) -> None:
    """The report of a model with control sequences in the names of an input and a dimension is written and judged."""
    nodes = [helper.make_node("MatMul", [EVIL, "w"], ["scores"])]
    weights = {"w": np.random.default_rng(7).normal(size=(FEATURES, CLASSES)).astype(np.float32)}
    models.write(project.root / "toy.onnx", nodes, {EVIL: [EVIL, FEATURES]}, {"scores": [EVIL, CLASSES]}, weights)
    arrays = samples()
    save(project.root / "validation.npz", {EVIL: arrays["x"], "labels": arrays["labels"]})
    project.edit('"latency.p99", "memory.peak"', '"property.*"')
    ran = project.run(*SUITES, "-k", "contract or parity or property", "--target=cpu")
    assert ran.code == 0, ran.out
    assert {ran.verdict("property.stable"), ran.verdict("property.parity")} == {"passed"}


def test_a_historys_password_is_shown_nowhere(project: Project) -> None:
    """The password of a history's URL is in no message and no report, whether or not the URL is valid."""
    secret = uuid4().hex
    odd = f"postgres//hil:{secret}@db.lab/runs"
    good = f"postgresql+psycopg://hil@corp:two {secret}@127.0.0.1:1/runs?password={secret}"
    project.edit('history = "none"', f'history = "{odd}"')
    for arguments in ((f"--hil-history={good}",), ("--hil-history", good), ()):
        ran = project.run(*SUITES, "-k", "parity", "--target=cpu", *arguments)
        assert ran.code in {4, 11}, ran.out
        assert secret not in ran.out + json.dumps(ran.report)
        assert ("127.0.0.1/runs" in ran.out) == bool(arguments), ran.out
    for command in (("history",), ("compare", "latest~1", "latest", "--history", good)):
        done = project.hil(*command)
        assert done.code in {4, 11}, done.out
        assert secret not in done.out
