from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING

import numpy as np
import pytest

from hil.errors import HilError, LabError, UserError
from hil.gate.gate import judge, open_report, seal
from hil.report.read_report import read
from hil.report.write_report import begin, finish, sealed, unfinished, update
from hil.results import Cause, Row, TargetUse, Verdict
from tests.report import sample

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from hil.report.schema import Report

USE = TargetUse(requested="cpu", used="cpu")
ROWS = (Row(id="parity.outputs", model="digits", precision="fp32", required=True),)


def started(run_id: str = "new") -> Report:
    """Return the report that a run writes before its first test."""
    return sample.draft(unfinished(ROWS, USE), run=sample.run(id=run_id, finished=None, pytest_exit_status=None))


def test_a_run_begins_incomplete(tmp_path: Path) -> None:
    """Before the first test there is an incomplete report with all planned rows, which no gate passes."""
    begin(tmp_path / "new" / "folder", started())
    report = read(tmp_path / "new" / "folder")
    assert (report.status, report.decision, report.exit_code) == ("incomplete", None, None)
    assert [(row.verdict, row.cause) for row in report.checks] == [(Verdict.NOT_RUN, Cause.NO_RESULT)]


def test_a_new_run_deletes_the_last_page_and_summary(tmp_path: Path) -> None:
    """A new run first deletes the page and the summary of the last one."""
    finish(tmp_path, sample.passed())
    assert {path.name for path in tmp_path.iterdir()} == {"report.json", "report.html", "summary.md"}
    begin(tmp_path, started())
    assert [path.name for path in tmp_path.iterdir()] == ["report.json"]
    assert read(tmp_path).run.id == "new"


def test_every_process_of_a_run_may_begin_it(tmp_path: Path) -> None:
    """A second ``begin`` of the same run changes nothing, even after the run was finished."""
    finish(tmp_path, sample.passed())
    before = (tmp_path / "report.json").stat().st_mtime_ns
    begin(tmp_path, started(sample.passed().run.id))
    assert (tmp_path / "report.json").stat().st_mtime_ns == before
    assert open_report(tmp_path).decision == "PASSED"


def partial(run_id: str = "new") -> Report:
    """Return the incomplete report of a run whose rows all passed before it was killed."""
    passed = sample.passed()
    undecided = {"status": "incomplete", "decision": None, "exit_code": None, "reasons": ()}
    run = sample.run(id=run_id, finished=None, pytest_exit_status=None)
    return passed.model_copy(update={**undecided, "run": run})


def test_a_killed_run_that_judged_everything_has_not_passed(tmp_path: Path) -> None:
    """A report that is still incomplete fails its own policy, even if all its rows passed."""
    begin(tmp_path, started())
    update(tmp_path, partial())
    report = open_report(tmp_path)
    assert all(check.verdict is Verdict.PASSED for check in report.checks if check.required)
    decision = judge(report, report.policy)
    assert (decision.status, decision.exit_code) == ("FAILED", 1)
    assert "the run did not finish: its report is incomplete" in decision.reasons


def test_judged_rows_replace_only_the_incomplete_report_of_their_run(tmp_path: Path) -> None:
    """Judged rows replace only the incomplete report of the same run, never a complete or another run's report."""
    update(tmp_path, partial())
    assert not list(tmp_path.iterdir())
    begin(tmp_path, started("other"))
    update(tmp_path, partial())
    assert read(tmp_path).run.id == "other"
    finish(tmp_path, sample.passed())
    update(tmp_path, partial(sample.passed().run.id))
    assert open_report(tmp_path).decision == "PASSED"
    with pytest.raises(ValueError, match="complete"):
        update(tmp_path, sample.passed())


@pytest.mark.parametrize("content", [b"", b"{", b"[1]", b"[" * 100_000, b"\xff"])
def test_begin_replaces_a_damaged_report(tmp_path: Path, content: bytes) -> None:
    """A damaged report of an earlier run is replaced."""
    (tmp_path / "report.json").write_bytes(content)
    begin(tmp_path, started())
    assert read(tmp_path).run.id == "new"


def test_details_may_contain_any_value() -> None:
    """NumPy values, NaN and invalid Unicode in details become JSON values when a report is sealed."""
    odd = {
        "worst": np.float32(0.5),
        "nan": float("nan"),
        "inf": np.inf,
        "at": (1, 2),
        "n": {3: np.arange(2)},
        "s": "\udc80",
    }
    report = seal(sample.with_row(sample.draft(), "parity.outputs", details=odd))
    expected = {"worst": 0.5, "nan": "nan", "inf": "inf", "at": [1, 2], "n": {"3": [0, 1]}, "s": "\\udc80"}
    row = next(row for row in report.checks if row.id == "parity.outputs")
    assert row.details == expected
    assert sealed(report) == report


def test_a_contradiction_is_never_written(tmp_path: Path) -> None:
    """A pass that contradicts its numbers raises ``HilError``, and no file is written."""
    report = sample.with_row(sample.draft(), "latency.p99", measurement=sample.measurement("latency.p99", 0.9, "s"))
    with pytest.raises(HilError, match=r"contradicts itself: latency\.p99"):
        seal(report)
    with pytest.raises(ValueError, match="accepts only a report"):
        finish(tmp_path, sample.draft())
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def tiny(tmp_path: Path) -> Iterator[Path]:
    """A file system of 64 KiB."""
    folder = tmp_path / "tiny"
    folder.mkdir()
    mount = ["/bin/mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(folder)]
    if os.geteuid() != 0 or subprocess.run(mount, check=False, capture_output=True).returncode != 0:
        pytest.skip("mounting a small file system needs root")
    yield folder
    subprocess.run(["/bin/umount", str(folder)], check=True)


def test_a_full_disk_is_the_labs_fault(tiny: Path) -> None:
    """A full disk gives one message, and the incomplete report from ``begin`` remains."""
    begin(tiny, started())
    with pytest.raises(LabError, match="No space left") as caught:
        finish(tiny, sample.passed())
    assert "\n" not in str(caught.value)
    assert [path.name for path in tiny.iterdir()] == ["report.json"]
    assert read(tiny).status == "incomplete"


def test_a_folder_that_is_a_file_is_the_users_mistake(tmp_path: Path) -> None:
    """If ``--hil-report`` names a file, the message names the option."""
    (tmp_path / "file").write_text("x", encoding="utf-8")
    for folder in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(UserError, match="--hil-report=DIR"):
            begin(folder, started())


KILLED = """
import sys, time
from pathlib import Path
from hil.report.write_report import replace_file
folder = Path(sys.argv[1])
print("go", flush=True)
while True:
    replace_file(folder / "report.json", sys.argv[2] * 3000)
"""


def test_a_reader_never_reads_an_incomplete_file(tmp_path: Path) -> None:
    """While a writer replaces the report repeatedly and is killed, readers always read a complete file."""
    text = json.dumps({"whole": True}) + "\n"
    with subprocess.Popen([sys.executable, "-c", KILLED, str(tmp_path), text], stdout=subprocess.PIPE) as writer:
        assert writer.stdout is not None
        writer.stdout.readline()
        reads = 0
        while reads < 50:
            assert writer.poll() is None
            if (tmp_path / "report.json").exists():
                assert (tmp_path / "report.json").read_text(encoding="utf-8") == text * 3000
                reads += 1
        writer.kill()
    assert (tmp_path / "report.json").read_text(encoding="utf-8") == text * 3000
