"""The views of a report: the page, the summary and the terminal."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from typing import TYPE_CHECKING, Any

import pytest

from hil.gate.gate import seal
from hil.report import engine_view, html, markdown, terminal, view
from hil.report.parts import next_steps
from hil.report.parts.selected import selected
from hil.report.schema import FailedTest, Rejected
from hil.report.write_report import sealed
from hil.results import Cause, Row, Verdict, not_run
from tests.report import sample

if TYPE_CHECKING:
    from pathlib import Path

    from hil.report.schema import Report
    from hil.results import CheckResult

HOSTILE = "</td><script>alert(1)</script> | `x` *b* [l](javascript:1) @here #12 \n# head \u202e \x1b[2J"
VOID = frozenset({"meta", "link", "br", "img", "hr", "input", "rect", "path", "circle"})


class Reader(HTMLParser):
    """Collects tags, ids, references and headers, and asserts that every tag is closed."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.ids: list[str] = []
        self.refers: list[str] = []
        self.links: list[str] = []
        self.headers_without_scope = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        attributes = dict(attrs)
        self.tags.append(tag)
        self.ids += [attributes["id"] or ""] if "id" in attributes else []
        self.refers += (attributes.get("aria-labelledby") or "").split()
        link = attributes.get("href") or ""
        self.links += [link] if "href" in attributes else []
        self.refers += [link[1:]] if link.startswith("#") else []
        self.headers_without_scope += tag == "th" and "scope" not in attributes
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            assert self.open.pop() == tag


def page(report: Report) -> Reader:
    """Return the parsed page of ``report``."""
    reader = Reader()
    reader.feed(html.render(report))
    assert reader.open == []
    return reader


def hostile() -> Report:
    """Return a report in which every free text contains markup and control characters."""
    report = sample.failed()
    changes = {"reason": HOSTILE, "details": {HOSTILE: HOSTILE}}
    rows = tuple(row.model_copy(update={**changes, "model": HOSTILE + row.model}) for row in report.checks)
    rejected = (Rejected(id=HOSTILE, reason=HOSTILE),)
    run = sample.run(arguments=(HOSTILE,), lab_error=HOSTILE)
    policy = sample.POLICY.model_copy(update={"require": ("contract.*",)})
    rows = tuple(row.model_copy(update={"required": row.id.startswith("contract.")}) for row in rows)
    used = {
        "models": tuple(model.model_copy(update={"name": HOSTILE + model.name}) for model in report.models),
        "engines": tuple(engine.model_copy(update={"model": HOSTILE + engine.model}) for engine in report.engines),
    }
    changed = {"checks": rows, "rejected": rejected, "run": run, "policy": policy, **used}
    return seal(report.model_copy(update=changed))


@pytest.mark.parametrize("make", [sample.passed, sample.failed, sample.fallback, sample.draft, hostile])
def test_the_page_is_well_formed_and_self_contained(make: object) -> None:
    """Every tag is closed, ids are unique, references resolve, headers have a scope; no script, no network access."""
    assert callable(make)
    report = make()
    text, parsed = html.render(report), page(report)
    assert not {"script", "img", "link", "iframe", "object", "form"} & set(parsed.tags)
    assert len(parsed.ids) == len(set(parsed.ids))
    assert set(parsed.refers) <= set(parsed.ids)
    assert parsed.headers_without_scope == 0
    assert not re.search(r"src=|url\(|@import|https?://|\son\w+=", text)
    # Links lead only to anchors and to files next to the page.
    assert all(
        re.fullmatch(r"#[\w-]+|report\.json|samples/[\w.+-]+\.npz|data:text/csv;charset=utf-8,[^<>\"]*", link)
        for link in parsed.links
    )


def test_the_page_starts_with_the_decision() -> None:
    """Decision, reasons, target, evidence and totals come before any table."""
    text = html.render(sample.fallback())
    head = text[: text.index("<main>")]
    for part in ("FAILED", "does not answer on port 22", "jetson-orin", "cpu-fallback", "54", "not run", "10"):
        assert part in head


def test_every_verdict_is_a_word() -> None:
    """Every verdict is written as a word, not shown by colour or sign only."""
    for verdict in Verdict:
        assert f'<b class="v {verdict.value}">{view.WORD[verdict]}</b>' in html.render(sample.failed())


def test_user_text_does_not_become_markup() -> None:
    """Reasons, names and details are text on the page and in the summary."""
    report = hostile()
    assert "<script" not in html.render(report)
    summary = markdown.render(report)
    assert "<script" not in summary
    assert "@here" not in summary
    assert "#12" not in summary
    assert "\n# head" not in summary


def test_a_figure_has_a_description() -> None:
    """Each figure has a name and a description for screen readers; each bar is next to its numbers."""
    text = html.render(sample.failed())
    assert "distribution of inference times: " in text
    assert text.count('<svg class="plot') == text.count('role="img" aria-label="distribution of') > 0
    row = text[text.index("latency.p99<small>") :]
    row = row[: row.index("</tr>")]
    for part in ('class="g failed"', "6.8 ms", "≤ 5 ms; 6.528 ms to 7.14 ms at 99 %", "hil.toml:31", "n = 4,096"):
        assert part in row, part


@pytest.mark.parametrize("odd", [None, 1, [], {"edges": [1, 2]}, {"edges": [2, 1, 0], "counts": [1, 1]},
                                 {"edges": [0, 1], "counts": ["a"]}, {"edges": ["nan", 1], "counts": [1]},
                                 {"edges": [0, 1], "counts": [-1]}, {"edges": [0, 1], "counts": [0]}])  # fmt: skip
def test_an_odd_histogram_does_not_break_the_page(odd: object) -> None:
    """A malformed histogram in a check's details is not drawn."""
    text = html.render(seal(sample.with_row(sample.draft(), "latency.p99", details={"histogram": odd})))
    without = html.render(seal(sample.with_row(sample.draft(), "latency.p99", details={})))
    drawn = [page.count("distribution of inference times: ") for page in (text, without)]
    assert drawn == [3, 3]


def test_int8_is_compared_with_fp32() -> None:
    """The page compares INT8 with FP32."""
    text = html.render(sample.passed())
    assert "Precisions side by side" in text
    assert "0.72 ×" in text


def test_the_summary_puts_failures_first_and_fits_a_comment() -> None:
    """Failures come first, and even with 120 tables the summary stays below 65,536 characters."""
    text = markdown.render(sample.failed())
    assert text.index("largest difference") < text.index("| check |")
    assert text.startswith("## ❌ FAILED on cpu")
    assert len(markdown.render(sample.large())) < 65_536


@pytest.mark.parametrize(
    "text", ["- x", "+ x", "1. x", "12) x", "= x", "| a |", "<b>", "a\nb", "$x$", "~~x~~", "@x", "x" * 999]
)
def test_escaped_text_is_one_plain_line(text: str) -> None:
    """User text cannot start a list, a table, a mention or HTML."""
    escaped = markdown.escape(text)
    assert "\n" not in escaped
    assert not re.match(r"[-+=|]|\d+[.)]", escaped)
    assert not re.search(r"(?<!\\)[|*`$~]|<|@\w", escaped)
    assert len(escaped) < 500


@pytest.mark.parametrize("width", [40, 80, 160])
@pytest.mark.parametrize("make", [sample.passed, sample.failed, sample.fallback, sample.draft, hostile])
def test_the_terminal_keeps_to_its_width(make: object, width: int) -> None:
    """Without colour there are no escape codes, no line exceeds the width, and the decision is a word."""
    assert callable(make)
    report = make()
    text = terminal.as_text(report, width=width)
    assert "\x1b" not in text
    assert max(len(line) for line in text.splitlines()) <= width
    assert view.headline(report) in text


def test_the_terminal_has_colour_on_request() -> None:
    """Colour adds escape codes only: without them the text is the same."""
    report = sample.failed()
    coloured = terminal.as_text(report, color=True)
    plain = "\n".join(line.rstrip() for line in re.sub(r"\x1b\[[0-9;]*m", "", coloured).splitlines())
    assert coloured.count("\x1b[") > 20
    assert plain == terminal.as_text(report).rstrip("\n")


def test_a_foreign_engine_is_marked_wherever_engines_are_listed() -> None:
    """Page, summary and terminal mark an engine that was built elsewhere."""
    report = sample.foreign()
    assert "digits fp32 <em>foreign</em>" in html.render(report)
    assert "| digits fp32 (foreign) |" in markdown.render(report)
    assert "built elsewhere: digits fp32" in markdown.render(report)
    assert "foreign engine, built elsewhere: digits fp32" in terminal.as_text(report)
    for text in (html.render(sample.passed()), markdown.render(sample.passed()), terminal.as_text(sample.passed())):
        assert "foreign" not in text


@pytest.mark.parametrize("failed", [False, True])
def test_guesses_are_shown_whatever_was_decided(*, failed: bool) -> None:
    """The page, the summary and the terminal show unconfirmed guesses, also of a run that failed for another reason."""
    draft = sample.draft(policy=sample.POLICY.model_copy(update={"warnings": True}))
    draft = sample.with_row(draft, "parity.outputs", verdict=Verdict.FAILED, reason="no") if failed else draft
    guessed = {"digits": ("task", "batch", "inputs.image.shape"), "arm": ("task",)}
    report = seal(draft.model_copy(update={"config": draft.config.model_copy(update={"guessed": guessed})}))
    assert report.decision == ("FAILED" if failed else "WARNED")
    text = "guessed and not confirmed: arm: task; digits: task; digits: batch; and 1 more"
    assert text in html.render(report)
    assert markdown.render(report).count(text) == 1
    assert " ".join(terminal.as_text(report, width=400).split()).count(text) == 1


def test_the_page_shows_how_an_engine_was_built() -> None:
    """The page shows log, facts, the trtexec command with its differences, and the processor, all escaped."""
    text = html.render(seal(sample.on_board()))
    assert page(seal(sample.on_board())).tags.count("pre") == 4 * 2
    for part in (
        "timing cache",
        "entropy2",
        "trtexec --onnx=model.onnx",
        "feeds random data",
        "NVIDIA H200, gpu, SM 9.0",
    ):
        assert part in text, part
    assert "&lt;kernel&gt; &amp; friends\\x1b[31m" in text


def test_the_page_lists_the_layers_that_placement_judged() -> None:
    """The page lists device, precision, type and escaped name of each layer, and ignores malformed lists."""
    listed = [{"name": "<b>conv\x1b[2J", "type": "CaskConvolution", "precision": "int8", "device": "dla"}, "odd", {}]
    report = sample.with_row(sample.on_board(), "placement.int8_layers", details={"layers": listed, "count": 300})
    text = html.render(seal(report))
    for part in ("&lt;b&gt;conv\\x1b[2J", "CaskConvolution", ">dla<", "the first 2 of them"):
        assert part in text, part
    for odd in (None, "layers", [], ["x"], {"a": 1}):
        report = sample.with_row(sample.on_board(), "placement.int8_layers", details={"layers": odd})
        assert "Layers of the engine" not in html.render(seal(report))


def test_control_characters_in_build_facts_are_escaped() -> None:
    """Control characters in a runtime's warnings and a model's tensor names are escaped."""
    about = {
        "flags": ["\x1b[2J"],
        "loaded": {"warnings": ["\x1b[2J", "w"], "ranges": {"\x1b": [[1], [2]]}},
        "why": "\x1b",
    }
    assert "\x1b" not in str(engine_view.build_facts(about)).encode().decode("unicode_escape")


@pytest.mark.parametrize(
    ("check_id", "reason", "step"),
    [
        ("placement.dla_fallback", "1 layers is not clearly at most 1 layers", "see the layers in report.html"),
        ("memory.peak", "the worker's peak on the GPU (not readable) is not readable (None)", "memory figures"),
        ("memory.growth", "3 readings in the later half of the soak, 10 are needed", "measure longer"),
        ("latency.p99", "the bounds straddle it", "measure longer"),
        ("parity.outputs", "slice_error 12 %, at most 10 % is required", "what the outputs mean"),
        ("parity.outputs", "output 'y' has no finite element to compare in 64 samples: use data", "has elements"),
        (
            "contract.shapes",
            "inputs x [1, 16]: output 'y' has NaN or infinity; 3 of 3",
            "a mask of -inf",
        ),
        ("contract.shapes", "no shape that the model allows was tried", "what the reason names"),
        ("regression.latency_p50", "more than 30 runs would be needed: stop other load", "what the reason names"),
        (
            "parity.task",
            "the reference itself gets 3 % right: check that labels are the model's",
            "what the reason names",
        ),
    ],
)
def test_the_next_step_suits_the_reason(check_id: str, reason: str, step: str) -> None:
    """The next step of an inconclusive row suits its reason."""
    row = next(check for check in sample.checks() if check.id == check_id)
    update = {"verdict": Verdict.INCONCLUSIVE, "reason": reason, "measurement": None, "cause": None}
    assert step in next_steps.next_step(row.model_copy(update=update))


def test_a_row_shows_its_evidence_if_rows_differ() -> None:
    """If the rows of a report have different evidence, the page shows it for each row."""
    assert "<small>host</small>" in html.render(seal(sample.on_board()))
    assert "<small>host</small>" not in html.render(sample.passed())


def test_a_fallback_is_one_problem() -> None:
    """Rows that were not run for the same reason are listed as one problem with the names of all rows."""
    (trouble,) = view.troubles(sample.fallback())
    assert len(trouble.checks) == 8
    assert "memory.peak arm int8" in trouble.names


def luminance(colour: str) -> float:
    """Return the relative luminance of ``#rrggbb`` (WCAG 2.2)."""
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def test_colours_have_enough_contrast(repository: Path) -> None:
    """Text in every tone reaches 4.5 to 1 (WCAG AA) on page and card, light and dark."""
    style = (repository / "hil" / "report" / "style.css").read_text(encoding="utf-8")
    blocks = re.findall(r":root \{([^}]*--page[^}]*--accent[^}]*)\}", style)
    assert len(blocks) == 2, "light and dark"
    for block in blocks:
        tones = dict(re.findall(r"--([a-z-]+): (#[0-9a-f]{6})", block))
        for name in ("text", "muted", "passed", "warned", "failed", "inconclusive", "not-run", "accent"):
            for ground in ("page", "card"):
                light, dark = sorted((luminance(tones[name]), luminance(tones[ground])), reverse=True)
                assert (light + 0.05) / (dark + 0.05) >= 4.5, (name, ground)


@pytest.mark.parametrize("evidence", ["host", "device"])
def test_a_red_page_never_states_that_nothing_needs_attention(evidence: str) -> None:
    """If the run failed, the page names what failed: another test with its exception, or the rule of the gate."""
    broken = FailedTest(test="tests/test_arm.py::test_reach", message="AssertionError: <b>3 mm</b> off")
    run = sample.run(other_tests_failed=1, failed_tests=(broken,), pytest_exit_status=1)
    policy = sample.POLICY.model_copy(update={"evidence": evidence})
    report = seal(sample.draft(run=run if evidence == "host" else sample.run(), policy=policy))
    text, summary = html.render(report), markdown.render(report)
    assert report.decision == "FAILED"
    assert "Nothing. Every check" not in text
    if evidence == "host":
        for part in ("tests/test_arm.py::test_reach", "AssertionError: &lt;b&gt;3 mm&lt;/b&gt; off"):
            assert part in text
            assert part.replace("_", "\\_") in summary
        assert "1 other test of the same run failed: tests/test_arm.py::test_reach" in report.reasons[0]
    else:
        assert "No check failed. The decision follows from what is stated above: evidence device is required" in text
    assert "Nothing. Every check that was run passed." in html.render(sample.passed())


def test_rows_that_were_not_run_are_listed_even_if_they_are_not_required() -> None:
    """A row that was not run and is not required is not a problem, but the page lists it with its reason."""
    lost: dict[str, Any] = {
        "verdict": Verdict.NOT_RUN,
        "evidence": None,
        "executed_on": None,
        "engine": None,
        "measurement": None,
    }
    lost |= {"cause": Cause.UNSUPPORTED, "reason": "this runtime cannot do it", "required": False}
    report = seal(sample.with_row(sample.draft(), "latency.p50", **lost))
    text = html.render(report)
    assert report.decision == "PASSED"
    assert "Not run, and not required: 1" in text
    assert text.index("this runtime cannot do it") < text.index('id="group-1"')


def test_a_selection_is_shown_as_what_it_is() -> None:
    """The views of a selection show only its own rows, and state that no gate accepts them."""
    rows = tuple(
        row if row.id == "parity.outputs" else not_run(row_of(row), Cause.DESELECTED, "left out", row.target)
        for row in sample.checks()
    )
    report = sealed(sample.draft(rows, status="partial", reasons=("no gate: -k outputs left out 50 of 54 checks",)))
    for text in (html.render(selected(report)), markdown.render(selected(report)), terminal.as_text(selected(report))):
        assert "PARTIAL" in text
        assert "no gate" in text
        assert "contract.shapes" not in text


def row_of(check: CheckResult) -> Row:
    """Return the planned row of a result."""
    return Row(**{name: getattr(check, name) for name in Row.model_fields if name != "test"})
