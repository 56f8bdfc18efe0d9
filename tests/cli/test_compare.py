"""``hil compare`` on a command line: the rows that count, and mistakes in naming them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from hil.compare import Document
from hil.history import open_history
from tests.history import run_reports
from tests.plugins.project import Project

if TYPE_CHECKING:
    from pathlib import Path

URL = "sqlite:///history.db"
COMPARE = ("compare", "latest~1", "latest", "--history", URL)


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A project with two equal runs on one board in its history."""
    folder: Path = tmp_path_factory.mktemp("project")
    made = Project.make(folder)
    with open_history(URL, base=folder) as history:
        for number in (1, 2):
            history.append(run_reports.on_jetpack(number, "6.2"))
    return made


def test_a_mistyped_row_is_a_mistake_and_writes_nothing(project: Project) -> None:
    """A row that does not exist ends with exit code 4 and a suggestion, before any file is written."""
    done = project.hil(*COMPARE, "--row", "latency.p9", "--json", "wrong.json")
    assert (done.code, "did you mean" in done.out) == (4, True), done.out
    assert not (project.root / "wrong.json").exists()


@pytest.mark.parametrize("table", ["models.toy.limits.regression", "models.toy.on.cpu.limits.regression"])
def test_a_regression_table_of_the_config_makes_rows_count(project: Project, table: str) -> None:
    """The models with a ``regression`` table in ``hil.toml``, for any target, are in the comparison's settings."""
    before = project.toml.read_text(encoding="utf-8")
    for text, expected in ((before, ()), (f'{before}\n[{table}]\nabove = "2 %"\n', ("toy",))):
        project.toml.write_text(text, encoding="utf-8")
        done = project.hil(*COMPARE, "--row", "latency.p99", "--row", "fps.*", "--json", "c.json")
        shown = Document.model_validate_json((project.root / "c.json").read_text(encoding="utf-8"))
        assert shown.settings.regression == expected, done.out
        counting = {row.check for row in shown.comparisons[0].rows if row.counts}
        assert counting == {"latency.p99", "fps.sustained"}
    project.toml.write_text(before, encoding="utf-8")
