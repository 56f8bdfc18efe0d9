"""``hil int8 tune`` on the GPU: a third-party text detector under 5 MB, in at most 8 builds with a timing cache.

``--work`` may hold the project in ``tune`` already, for a machine that cannot install the packages of the models.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from benchmarks import tune
from benchmarks.projects import TARGET
from tests.zoo.packages import installed
from tests.zoo.project import Project

if TYPE_CHECKING:
    from benchmarks.tensorrt.stage import Stage

MODEL = "ch_PP-OCRv4_det_infer"
TABLE = """
[targets.{target}]
kind    = "local"
runtime = "tensorrt"
python  = {python}
store   = {store}
"""


def measure(stage: Stage) -> int:
    """Prepare the project if it is absent, tune the model, and write ``tensorrt-tune``; return the exit code."""
    folder = stage.work / "tune"
    if not (folder / "hil.toml").exists():
        tune.prepared(MODEL, installed(), folder)
    project = Project(folder, folder / "packages", [MODEL], models={MODEL: tune.SUBJECTS[MODEL]})
    text = project.toml.read_text()
    if f"[targets.{TARGET}]" not in text:
        table = TABLE.format(target=TARGET, python=json.dumps(stage.python), store=json.dumps(str(stage.store)))
        table += "" if stage.board is None else f"board   = {json.dumps(stage.board)}\n"
        level = "" if stage.level is None else f'\nbuild = {{ optimization_level = {stage.level} }}\ndata       = "'
        text = text.replace('["batch", 3', "[1, 3").replace('\ndata       = "', level or '\ndata       = "', 1)
        project.toml.write_text(text + table)
    with stage.agent():
        pass  # its versions
    return stage.keep("tensorrt-tune", [tune.tuned(project, tune.BUILDS, "--target", TARGET)])
