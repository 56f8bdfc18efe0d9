"""``[targets.NAME.deploy]``: values that are impossible on a robot or in a release are refused."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from hil.config.load import load
from hil.errors import UserError

if TYPE_CHECKING:
    from pathlib import Path

TEXT = """[models.a]
path = "model.onnx"
data = "package.module:callable"
[targets.b.deploy]
"""
GOOD = {"directory": '"~/robot/perception"', "health": '["/opt/healthy"]', "service": '"perception"'}


def config(root: Path, **keys: str | None) -> None:
    """Load a config with these keys changed; ``None`` omits a key."""
    for name in ("model.onnx", "robot.yaml", "release.pub"):
        (root / name).touch()
    lines = [f"{key} = {value}\n" for key, value in {**GOOD, **keys}.items() if value is not None]
    (root / "hil.toml").write_text(TEXT + "".join(lines), encoding="utf-8")
    load(root / "hil.toml")


def test_what_a_robot_needs(tmp_path: Path) -> None:
    """A folder, a health command, one way to restart, and existing config and key files are accepted."""
    config(tmp_path)
    config(tmp_path, service=None, restart='["systemctl", "--user", "restart", "x"]', config='["robot.yaml"]')
    config(tmp_path, keys='["release.pub"]')
    config(tmp_path, service=None, container='{ engine = "docker", args = ["--runtime", "nvidia"], base = "a/b:1" }')


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"directory": '"robot"'}, "'robot' is not a folder on the robot: write it as /… or ~/…"),
        ({"directory": '"/opt/../etc/x"'}, "is not a folder on the robot"),
        ({"directory": '"/opt"'}, "'/opt' is shared with other software"),
        ({"directory": None}, "directory"),
        ({"health": None}, "health"),
        ({"health": "[]"}, "health"),
        ({"health": '"/opt/healthy"'}, "health"),
        ({"health": '["a\\nb"]'}, "control character"),
        ({"service": None}, "give either service"),
        ({"restart": '["x"]'}, "give either service"),
        ({"service": '"-x; y"'}, "is not a service name"),
        ({"config": '["robots.yaml"]'}, "no such file: .*did you mean 'robot.yaml'"),
        ({"config": '["robot.yaml", "./robot.yaml"]'}, "two files would both be config/robot.yaml"),
        ({"keys": '["release.pem"]'}, "no such public key: .*did you mean 'release.pub'"),
        ({"keep": "0"}, "keep"),
        ({"max_age": '"0 days"'}, "max_age"),
        ({"container": '{ engine = "docker" }'}, "the container engine starts a container"),
        ({"service": None, "container": '{ engine = "crun" }'}, "docker"),
        ({"service": None, "container": '{ engine = "docker", name = "-x" }'}, "'-x' is not a container name"),
        ({"service": None, "container": '{ engine = "docker", base = "--privileged" }'}, "is not an image reference"),
        ({"service": None, "container": '{ engine = "docker", args = ["a\\nb"] }'}, "control character"),
        ({"restart_in": '"5 s"'}, "did you mean 'restart"),
    ],
)
def test_an_impossible_value_has_its_line(tmp_path: Path, keys: dict[str, str | None], message: str) -> None:
    """An impossible value is refused when the config is loaded."""
    with pytest.raises(UserError, match=rf"hil\.toml:\d+: (?s:.*){message}"):
        config(tmp_path, **keys)
