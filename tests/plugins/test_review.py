"""What a reviewer tried: accidents and mistakes that must end neither green nor in a traceback."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from hil.errors import ExitCode
from tests.plugins.project import SUITES, Project, Ran, samples, save

FAILED, USER, LAB = int(ExitCode.FAILED), int(ExitCode.USER_ERROR), int(ExitCode.LAB_ERROR)
PARITY = (*SUITES, "-k", "parity and not property", "--target=cpu")
OWN = (*SUITES, "test_own.py", "-k", "(parity or own) and not property", "--target=cpu")


@pytest.fixture
def quick(project: Project) -> Project:
    """A project whose policy asks for parity alone, so that a run takes three seconds."""
    project.edit('["contract.*", "parity.*", "latency.p99", "memory.peak"]', '["parity.*"]')
    return project


def _one_message(ran: Ran, said: str, code: int) -> None:
    assert ran.code == code, ran.out
    assert said in ran.out, ran.out
    assert "Traceback" not in ran.out, ran.out
    assert "INTERNALERROR" not in ran.out, ran.out


def test_the_quick_project_passes(quick: Project) -> None:
    """Without this, the other tests would prove nothing."""
    assert quick.run(*PARITY).code == 0


@pytest.mark.parametrize(
    "hook",
    [
        "@pytest.hookimpl(trylast=True)\ndef pytest_sessionfinish(session): session.exitstatus = 0\n",
        "@pytest.hookimpl(wrapper=True)\ndef pytest_sessionfinish(session):\n    yield\n    session.exitstatus = 0\n",
        "def pytest_sessionfinish(): pytest.exit('done', returncode=0)\n",
        "def pytest_sessionstart(): pytest.exit('done', returncode=0)\n",
        "def pytest_configure(): pytest.exit('done', returncode=0)\n",
        "@pytest.hookimpl(tryfirst=True)\ndef pytest_cmdline_main(): return 0\n",
    ],
)
def test_no_other_hook_turns_a_failed_run_green(quick: Project, hook: str) -> None:
    """A conftest that sets the exit status, or ends pytest early with 0, has not the last word."""
    drop = "def pytest_collection_modifyitems(items): items.clear()\n"
    (quick.root / "conftest.py").write_text(f"import pytest\n{hook}{drop}")
    ran = quick.run(*PARITY, "-p", "conftest")
    assert ran.code == FAILED, ran.out
    assert (ran.report or {}).get("decision") != "PASSED"


@pytest.mark.parametrize("body", ["(hil_check): pass", "(): pass"])
def test_a_test_marked_hil_owes_a_verdict(quick: Project, body: str) -> None:
    """A user's test that borrows a stock row and judges nothing fails, even where the stock test judged the row."""
    (quick.root / "test_own.py").write_text(f"import pytest\n@pytest.mark.hil('parity.outputs')\ndef test_own{body}\n")
    ran = quick.run(*OWN)
    assert ran.code == FAILED, ran.out
    assert "gave no result" in ran.out


@pytest.mark.parametrize(
    ("mark", "near", "workers"),
    [
        ("hil('parity.output')", "'parity.outputs'", ()),
        ("hil('parity.output')", "'parity.outputs'", ("-n", "1")),
        ("hil", "there is", ()),
        ("hil_models('toi')", "'toy'", ()),
        ("hil_models('toi')", "'toy'", ("-n", "1")),
        ("hil_precisions('fp23')", "'fp32'", ()),
    ],
)
def test_a_misspelt_marker_does_not_drop_its_test(
    quick: Project, mark: str, near: str, workers: tuple[str, ...]
) -> None:
    """A misspelt marker is an error; it does not remove the test from the run."""
    text = f"import pytest\n@pytest.mark.{mark}\ndef test_own(hil_check, hil_engine): pass\n"
    (quick.root / "test_own.py").write_text(text)
    ran = quick.run(*OWN, *workers)
    _one_message(ran, "is unknown", USER)
    assert near in ran.out


@pytest.mark.parametrize("name", ["Grasp Error", "grasp", "grasp." + "e" * 300, "grasp.error\\n"])
def test_a_bad_id_of_a_users_check_is_one_message(quick: Project, name: str) -> None:
    """An id that the report cannot hold is told in one line, and once."""
    (quick.root / "test_own.py").write_text(f"def test_own(hil_check): hil_check.at_most('{name}', 1.0, '2 mm')\n")
    ran = quick.run("test_own.py", "--target=cpu")
    _one_message(ran, "is not a valid check id", USER)
    assert "gave no result" not in ran.out.split(" hil ")[0], ran.out


def test_a_policy_that_requires_nothing_is_a_mistake(quick: Project) -> None:
    """``require = []`` would let anything pass."""
    quick.edit('require = ["parity.*"]', "require = []")
    _one_message(quick.run(*PARITY), "gate.require names nothing", USER)


def test_a_reference_that_is_never_right_has_nothing_to_lose(quick: Project) -> None:
    """Labels numbered otherwise than the model's classes: no loss can be seen, so none is excluded."""
    found = samples()
    save(quick.root / "validation.npz", {**found, "labels": (found["labels"] + 1) % 4})
    ran = quick.run(*PARITY)
    assert ran.code == FAILED, ran.out
    assert ran.verdict("parity.task") == "inconclusive"


@pytest.mark.parametrize("name", ["engines", "samples"])
def test_a_file_in_the_reports_way_is_one_message(quick: Project, name: str) -> None:
    """``report/engines`` or ``report/samples`` that is a file stops the run with what to do."""
    (quick.root / "report").mkdir()
    (quick.root / "report" / name).write_text("in the way")
    _one_message(quick.run(*SUITES, "-k", "outputs or p99", "--target=cpu"), f"{name} cannot be written", USER)


def test_a_damaged_series_of_an_earlier_run_is_taken_again(quick: Project) -> None:
    """Half an ``.npz`` in ``report/samples`` is no reason to fail."""
    (quick.root / "report" / "samples").mkdir(parents=True)
    path = quick.root / "report" / "samples" / "toy-fp32-saturated.npz"
    np.savez(path, about=np.zeros(100))
    path.write_bytes(path.read_bytes()[:200])
    ran = quick.run(*SUITES, "-k", "(parity or p99) and not property", "--target=cpu")
    assert ran.code == 0, ran.out
    assert ran.verdict("latency.p99") == "passed"


def test_a_damaged_blob_in_the_store_heals(quick: Project) -> None:
    """It is found by its digest, deleted, and brought again by the next run: never run, never in the way for good."""
    assert quick.run(*PARITY).code == 0
    for blob in (Path(quick.env["XDG_CACHE_HOME"]) / "pytest-hil" / "store" / "blobs").iterdir():
        blob.chmod(0o644)
        blob.write_bytes(blob.read_bytes()[:-1] + b"\0")
    _one_message(quick.run(*PARITY), "damaged in the store", LAB)
    assert quick.run(*PARITY).code == 0


def test_a_damaged_reference_is_made_again(quick: Project) -> None:
    """Cached reference outputs are believed by their digest alone."""
    assert quick.run(*PARITY).code == 0
    (cached,) = (quick.root / ".hil").rglob("0.npy")
    whole = cached.read_bytes()
    cached.write_bytes(whole[:-1] + bytes([whole[-1] ^ 0x55]))
    assert quick.run(*PARITY).verdict("parity.outputs") == "passed"
    assert cached.read_bytes() == whole


def test_a_listing_leaves_the_report_alone(quick: Project) -> None:
    """``--fixtures`` runs nothing and judges nothing."""
    ran = quick.run(*PARITY, "--fixtures")
    assert ran.code == 0, ran.out
    assert ran.report is None


def test_a_gate_on_a_listing_is_a_mistake(quick: Project) -> None:
    """``--collect-only`` left behind in the options of a pipeline must not open its gate."""
    _one_message(quick.run(*PARITY, "--hil-gate", "--collect-only"), "runs nothing", USER)


@pytest.mark.parametrize("wait", ["-1", "nan", "inf", "soon"])
def test_a_wait_that_is_no_time_is_a_mistake(quick: Project, wait: str) -> None:
    """``--hil-wait`` takes seconds."""
    _one_message(quick.run(*PARITY, f"--hil-wait={wait}"), "is not a number of seconds", USER)


def test_a_batch_that_does_not_fit_is_told_before_anything_runs(quick: Project) -> None:
    """A batch size that leaves a remainder of a model with a fixed batch costs no half run."""
    quick.edit('path = "toy.onnx"', 'path = "toy.onnx"\nbatch = 3')
    _fix_batch(quick.root / "toy.onnx", 7)
    ran = quick.run(*PARITY)
    _one_message(ran, "fixed at batch 7", USER)
    assert ran.report is None


def _fix_batch(path: Path, size: int) -> None:
    import onnx

    model = onnx.load(str(path))
    for value in (*model.graph.input, *model.graph.output):
        value.type.tensor_type.shape.dim[0].dim_value = size
    onnx.save(model, str(path))


def test_workers_that_read_another_config_are_found_out(quick: Project) -> None:
    """``hil.toml`` that changes while xdist starts its workers: limits of one, digest of the other."""
    (quick.root / "conftest.py").write_text(
        "import pathlib\n"
        "def pytest_configure_node(node):\n"
        "    path = pathlib.Path('hil.toml')\n"
        "    path.write_text(path.read_text().replace('4 GiB', '5 GiB'))\n"
    )
    ran = quick.run(*PARITY, "-n", "1", "-p", "conftest")
    _one_message(ran, "was changed", USER)
    assert ran.report is not None
    assert json.dumps(ran.report["reasons"]).count("was changed") == 1


@pytest.mark.parametrize("name", ["toy.onnx", "validation.npz"])
def test_a_file_that_changes_during_the_run_is_found_out(quick: Project, name: str) -> None:
    """What was compared would not be what the report names by digest."""
    (quick.root / "conftest.py").write_text(
        "import pathlib, pytest\n"
        "@pytest.hookimpl(tryfirst=True)\n"
        "def pytest_runtest_setup(item):\n"
        f"    path = pathlib.Path({name!r})\n"
        "    if 'test_repeatable' in item.name: path.write_bytes(path.read_bytes())\n"
    )
    _one_message(quick.run(*PARITY, "-p", "conftest"), f"{name} was changed while the run read it", USER)


def test_a_folder_in_the_way_of_junit_is_one_message(quick: Project) -> None:
    """Pytest itself would end in a traceback, after all the work."""
    (quick.root / "report" / "junit.xml").mkdir(parents=True)
    _one_message(quick.run(*PARITY), "junit.xml is a folder", USER)


def test_a_report_folder_with_an_impossible_name_is_one_message(quick: Project) -> None:
    """A name longer than the file system takes is told like any other."""
    _one_message(quick.run(*PARITY, f"--hil-report={'x' * 300}"), "name another", USER)
