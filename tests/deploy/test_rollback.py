"""``hil rollback`` judges the earlier release by its own files; a refusal is not a success."""

from __future__ import annotations

import hashlib
import json
import shutil
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from hil.agent.releases.activating import Activation
from hil.agent.releases.journal import Journal
from hil.agent.releases.releases import Releases
from hil.cli import main
from hil.cli.views.robots import Steps, print_outcome
from hil.deploy.robot import Outcome
from hil.report.canonical import canonical, report_digest
from tests.deploy.container import TARGET

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

DEPLOY = """
[targets.rover.deploy]
directory = "{root}/robot/releases"
restart = ["/bin/true"]
health = ["/bin/true"]
config = ["robot.yaml"]
golden = 4
keep = 100
"""


@dataclass
class Rover:
    """This machine as a robot, and the command line in this process."""

    root: Path
    capsys: pytest.CaptureFixture[str]

    def hil(self, *words: str) -> tuple[int, str]:
        """Run ``hil WORDS``; return its exit code and output."""
        code = main([*words, "--config", str(self.root / "hil.toml")])
        printed = self.capsys.readouterr()
        return code, printed.out + printed.err

    def config(self, lines: str = "", *, serial: str = "") -> None:
        """Write ``hil.toml`` with additional ``lines`` for deploying, and a serial number."""
        text = (self.root / "hil.toml").read_text(encoding="utf-8").split("[targets.")[0]
        text += TARGET.format(store=self.root / "store") + serial + DEPLOY.format(root=self.root) + lines
        (self.root / "hil.toml").write_text(text, encoding="utf-8")

    def deploy(self, note: str) -> str:
        """Deploy a release with this note; return its digest."""
        (self.root / "robot.yaml").write_text(note, encoding="utf-8")
        code, out = self.hil("deploy", str(self.root / "report"), "--to", "rover")
        assert code == 0, out
        return self.current

    @property
    def current(self) -> str:
        """The digest of the running release."""
        return (self.root / "robot/releases/current").readlink().name

    @property
    def folder(self) -> Path:
        """The folder of the releases."""
        return self.root / "robot/releases/releases"

    def changed_copy(self, release: str, change: Callable[[dict[str, Any], dict[str, Any]], object]) -> str:
        """Install a copy with a changed manifest and report, undamaged and once healthy; return its digest."""
        place = self.folder / "new"
        shutil.copytree(self.folder / release, place)
        manifest, report = (json.loads((place / name).read_bytes()) for name in ("manifest.json", "report.json"))
        change(manifest, report)
        report["digest"] = report_digest(report)
        content = json.dumps(report).encode()
        (place / "report.json").write_bytes(content)
        (entry,) = (file for file in manifest["files"] if file["path"] == "report.json")
        entry.update(sha256=hashlib.sha256(content).hexdigest(), size=len(content))
        manifest["judged"]["report"] = report["digest"]
        (place / "manifest.json").write_bytes(canonical(manifest))
        digest = hashlib.sha256(canonical(manifest)).hexdigest()
        place.rename(self.folder / digest)
        (self.root / "robot/releases/.hil/healthy" / digest).touch()
        return digest

    def refusal(self, release: str) -> str:
        """Return why a rollback to ``release`` is refused; assert that the current release continues."""
        before = self.current
        code, out = self.hil("rollback", "rover", "--to", release)
        assert code == 1, out
        assert "✓" not in out
        assert self.current == before
        return out


@pytest.fixture
def rover(local: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Rover:
    """A robot without a release, and a report of this machine."""
    root = tmp_path / "project"
    shutil.copytree(local, root, ignore=shutil.ignore_patterns("cache"))
    robot = Rover(root, capsys)
    robot.config()
    return robot


def old(_: dict[str, Any], report: dict[str, Any]) -> None:
    """Make the report years old."""
    report["run"]["finished"] = "2020-01-01T00:00:00+00:00"


def other_machine(manifest: dict[str, Any], report: dict[str, Any]) -> None:
    """Make the report one of another CPU and runtime version."""
    report["target"]["facts"]["cpu_model"] = "another CPU"
    for engine in (*manifest["engines"], *report["engines"]):
        engine["runtime_version"] = "0.1"


def other_board(manifest: dict[str, Any], _: dict[str, Any]) -> None:
    """Name a board in the manifest that is not in its report."""
    manifest["board"]["module"] = "orin-nx-16gb"


def guessing(_: dict[str, Any], report: dict[str, Any]) -> None:
    """Add an unconfirmed guess to the report."""
    report["config"]["guessed"] = {"toy": ["task"]}


def failing(_: dict[str, Any], report: dict[str, Any]) -> None:
    """Make a row of the report fail, whatever decision it records."""
    report["checks"][0]["verdict"] = "failed"
    report["totals"].update(passed=report["totals"]["passed"] - 1, failed=1)


def unfinished(_: dict[str, Any], report: dict[str, Any]) -> None:
    """Make the report one of a run that did not finish."""
    report.update(status="incomplete", decision=None, exit_code=None)


def other_engine(manifest: dict[str, Any], _: dict[str, Any]) -> None:
    """Name an engine in the manifest that was not judged."""
    manifest["engines"][0]["sha256"] = "0" * 64


def test_which_releases_may_run_again(rover: Rover) -> None:
    """A rollback requires the judged board, runtime, serial number and files, and a signature if the robot has keys."""
    first, second = rover.deploy("first"), rover.deploy("second")
    refusals: dict[Any, str] = {}
    for change, message in (
        (other_machine, "CPU: judged on another CPU, the robot has"),
        (other_machine, "onnxruntime: judged on 0.1, the robot has"),
        (other_board, "its manifest and its report contradict each other"),
        (guessing, "guessed and not confirmed: toy: task"),
        (failing, "the run's own policy: 1 failed: "),
        (unfinished, "its run did not finish"),
        (other_engine, "its manifest and its report contradict each other"),
        (lambda manifest, _: manifest.pop("board"), "its manifest is incomplete: KeyError: 'board'"),
    ):
        refusals[change] = refusals.get(change) or rover.refusal(rover.changed_copy(first, change))
        assert message in refusals[change]
    rover.config('keys = ["release.pub"]\n')
    (rover.root / "release.pub").write_text("not read", encoding="utf-8")
    assert "it has no report.sigstore.json, but [targets.rover.deploy] has keys" in rover.refusal(first)
    rover.config(serial='serial = "1421123456789"\n')
    code, out = rover.hil("rollback", "rover", "--to", first)
    assert (code, rover.current) == (11, second)
    assert "serial" in out
    rover.config()
    # A damaged release is refused. The message names two fixes: another release, and deploying this one again.
    (rover.folder / first / "config/robot.yaml").write_text("changed", encoding="utf-8")
    assert "is damaged: config/robot.yaml was changed" in rover.refusal(first)
    aged = rover.changed_copy(second, old)
    assert rover.hil("rollback", "rover", "--to", aged)[0] == 0
    assert rover.current == aged
    assert rover.deploy("first") == first
    code, out = rover.hil("rollback", "rover", "--to", first)
    assert code == 0
    assert "already runs there" in out
    (rover.folder / first / "config/robot.yaml").write_text("changed", encoding="utf-8")
    assert "is damaged" in rover.refusal(first)


def test_the_signature_of_a_release(rover: Rover) -> None:
    """A release of any age runs again only with a signature of its report by one of the robot's keys."""
    from cryptography.hazmat.primitives.asymmetric import ec

    from hil.attestation import KeySigner, attest

    ours, theirs = (KeySigner(ec.generate_private_key(ec.SECP256R1())) for _ in range(2))
    rover.config('keys = ["release.pub"]\n')
    (rover.root / "release.pub").write_text(ours.public.pem, encoding="ascii")
    attest(rover.root / "report", ours)
    first, second = rover.deploy("first"), rover.deploy("second")
    (rover.root / "release.pub").write_text(theirs.public.pem, encoding="ascii")
    assert "which is not trusted" in rover.refusal(first)
    (rover.root / "release.pub").write_text(ours.public.pem, encoding="ascii")
    assert "report.json is not the report that was signed" in rover.refusal(rover.changed_copy(first, old))
    assert rover.hil("rollback", "rover", "--to", first)[0] == 0
    assert rover.current == first != second

    def signed_long_ago(manifest: dict[str, Any], report: dict[str, Any]) -> None:
        old(manifest, report)
        report["policy"]["max_age"] = "7 days"
        report["digest"] = report_digest(report)
        (rover.root / "old.json").write_text(json.dumps(report), encoding="utf-8")
        then = datetime.fromisoformat(report["run"]["finished"]) + timedelta(days=1)
        bundle = attest(rover.root / "old.json", ours, rover.folder / "new/report.sigstore.json", now=then).read_bytes()
        (entry,) = (file for file in manifest["files"] if file["path"] == "report.sigstore.json")
        entry.update(sha256=hashlib.sha256(bundle).hexdigest(), size=len(bundle))

    aged = rover.changed_copy(first, signed_long_ago)
    assert rover.hil("rollback", "rover", "--to", aged)[0] == 0
    assert rover.current == aged


def test_a_refused_rollback_is_not_a_success(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """A refused rollback has its own outcome in the journal and the last step, and exit code 1."""
    folder = Releases(str(tmp_path))
    folder.make()
    journal = Journal(folder)
    (tmp_path / ".hil/history.jsonl").write_text('{"outcome": "unchanged", "text": "of an earlier version"}\n')
    for name in ("forward", "stay", "recover"):
        operation: dict[str, Any] = {"from": None, "to": "0" * 64, "kind": "rollback", "plan": {"safe_state": []}}
        journal.ready(operation)
        activation = Activation(folder, operation)
        work = {"forward": activation.forward, "stay": lambda: activation.stay("x"), "recover": activation.recover}  # noqa: B023 - called here
        work[name]()
        assert journal.operation() is None
    assert [entry["outcome"] for entry in journal.history()] == ["unchanged", "refused", "refused", "refused"]
    assert capfd.readouterr().out.count('"step": "end refused"') == 3
    codes = {how: print_outcome(Outcome(how, "", "0" * 64), Steps()) for how in ("unchanged", "deployed", "refused")}
    assert codes == {"unchanged": 0, "deployed": 0, "refused": 1}
    assert (
        print_outcome(Outcome("rolled back", "", "0" * 64), Steps())
        == print_outcome(Outcome("unhealthy", "", None), Steps())
        == 1
    )
