"""``hil doctor``, ``hil probe`` and ``hil targets`` with a machine that adds control characters to every answer."""

from __future__ import annotations

import json
import re
import sys
from typing import TYPE_CHECKING

import pytest

from hil.cli import main

if TYPE_CHECKING:
    from pathlib import Path

EVIL = "\n::warning title=x::pwned\r✓ ready\x1b[2J\u202e\x9b1m"
CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2066-\u2069]")
COMMAND = re.compile(r"^\s*::warning", re.MULTILINE)
WRAPPER = """#!{python}
import json, subprocess, sys

EVIL = {evil!r}

def attack(value):
    if isinstance(value, dict):
        return {{key + EVIL if len(key) > 30 else key: attack(item) for key, item in value.items()}}
    if isinstance(value, list):
        return [attack(item) for item in value]
    return value + EVIL if isinstance(value, str) else value

done = subprocess.run([{python!r}, *sys.argv[1:]], stdin=sys.stdin, stdout=subprocess.PIPE, check=False)
mark, answer = {mark!r}, done.stdout.rpartition(b"\\n" + {mark!r})[2]
facts = attack(json.loads(answer))
facts["holder"] = {{"who": "ill" + EVIL, "host": "ill" + EVIL, "since": EVIL}}
print(EVIL)
sys.stdout.buffer.write(b"\\n" + mark + json.dumps(facts).encode() + b"\\n")
"""


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a folder whose target ``bench`` has an interpreter that adds the attack to everything it answers."""
    from hil.agent.machine.survey import MARK  # the marker that the agent writes

    python = tmp_path / "python"
    python.write_text(WRAPPER.format(python=sys.executable, evil=EVIL, mark=MARK), encoding="utf-8")
    python.chmod(0o755)
    for name in ("toy.onnx", "toy.npz"):
        (tmp_path / name).touch()
    (tmp_path / "hil.toml").write_text(
        '[models.toy]\npath = "toy.onnx"\ndata = "toy.npz"\n'
        f'[targets.bench]\nkind = "local"\npython = "{python}"\nstore = "{tmp_path / "store"}"\n',
        encoding="utf-8",
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path


@pytest.mark.parametrize("command", ["doctor bench", "probe bench", "probe bench --json", "targets --check"])
def test_no_answer_of_a_machine_controls_the_terminal(
    machine: Path, capsys: pytest.CaptureFixture[str], command: str
) -> None:
    """Facts, holder and errors are shown without control characters, and start no workflow command."""
    assert machine.exists()
    main(command.split())
    out = "".join(capsys.readouterr())
    assert "ready" in out
    assert not CONTROL.search(out), ascii(out)
    assert not COMMAND.search(out), ascii(out)
    if "--json" in command:
        assert json.loads(out)["held"]["who"].startswith("ill\\n")
