"""``hil attest``, ``hil verify`` and a policy file through the real command line."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from hil.attestation import key_from_file
from hil.cli import main
from hil.errors import ExitCode
from hil.report.write_report import finish
from tests.attestation import case as cases
from tests.report import sample

USER, FAILED = int(ExitCode.USER_ERROR), int(ExitCode.FAILED)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a report's folder with a key pair next to the report."""
    return write_report(tmp_path)


@pytest.fixture(scope="module")
def signed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a signed report, which the tests do not change."""
    folder = write_report(tmp_path_factory.mktemp("signed"))
    (folder / "hil.pub").chmod(0o644)
    assert main(["attest", str(folder), "--key", str(folder / "hil.key")]) == 0
    return folder


def write_report(folder: Path) -> Path:
    """Write a report and a key pair to ``folder``; return ``folder``."""
    finish(folder, cases.made())
    (folder / "hil.key").write_bytes(cases.pem())
    (folder / "hil.key").chmod(0o600)
    (folder / "hil.pub").write_text(key_from_file(folder / "hil.key").public.pem)
    return folder


def test_sign_and_verify(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """``hil verify`` accepts what ``hil attest`` signed, and prints the result as text or JSON."""
    assert main(["attest", str(folder), "--key", str(folder / "hil.key")]) == 0
    assert main(["verify", str(folder), "--key", str(folder / "hil.pub")]) == 0
    out = capsys.readouterr().out
    assert "hil-gate: PASSED" in out
    assert "judged again, as signed" in out
    assert main(["verify", str(folder / "report.sigstore.json"), "--key", str(folder / "hil.pub"), "--json"]) == 0
    verified = json.loads(capsys.readouterr().out)
    assert (verified["decision"], verified["report"]["judged_again"]) == ("PASSED", True)
    assert {each["role"] for each in verified["subjects"]} == {"engine", "onnx", "calibration-cache"}


def test_a_failed_report_does_not_verify(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A failed report can be signed, and ``hil verify`` exits with 1."""
    finish(folder, sample.failed())
    assert main(["attest", str(folder), "--key", str(folder / "hil.key")]) == 0
    assert main(["verify", str(folder), "--key", str(folder / "hil.pub")]) == FAILED
    assert "the gate's decision is FAILED" in capsys.readouterr().err


def test_a_report_that_cannot_be_read_is_not_a_missing_one(signed: Path, tmp_path: Path) -> None:
    """A ``report.json`` that is a broken link is an error; without the file, only the signature is verified."""
    folder = Path(shutil.copytree(signed, tmp_path / "copy"))
    (folder / "report.json").unlink()
    assert main(["verify", str(folder), "--key", str(folder / "hil.pub")]) == 0
    (folder / "report.json").symlink_to(folder / "gone.json")
    assert main(["verify", str(folder), "--key", str(folder / "hil.pub")]) == USER


def test_a_file_of_two_keys_is_refused(signed: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A file with several keys is refused, so that no key is silently ignored."""
    both = tmp_path / "both.pub"
    both.write_text((signed / "hil.pub").read_text() * 2)
    assert main(["verify", str(signed), "--key", str(both)]) == USER
    assert "contains several keys" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["attest", "."], USER, "exactly one key is needed"),
        (["attest", ".", "--key", "hil.key", "--key-env", "X"], USER, "exactly one key is needed"),
        (["attest", ".", "--key", "hil.pub"], USER, "others can read"),
        (["attest", "none", "--key", "hil.key"], USER, "there is no report"),
        (["attest", ".", "--key", "hil.key", "--out", "no/where.json"], USER, "cannot be written"),
        (["verify", "."], USER, "no key to verify"),
        (["verify", ".", "--key", "hil.key"], USER, "a public key is required"),
        (["verify", ".", "--key", "hil.pub", "--max-age", "7"], USER, "--max-age"),
        (["verify", ".", "--key", "hil.pub", "--max-age", "1e9 days"], USER, "so every age would pass"),
        (["verify", ".", "--key", "hil.pub", "--newer-than", "yesterday"], USER, "--newer-than"),
        (["verify", ".", "--key", "hil.pub", "--newer-than", "2026-11-22"], USER, "--newer-than"),
        (["verify", ".", "--key", "hil.pub", "--commit", "HEAD"], USER, "is not a full commit"),
        (["verify", ".", "--key", "hil.pub", "--engine", "none.plan"], USER, "none.plan"),
        (["verify", ".", "--key", "hil.pub", "--engine", "hil.pub"], FAILED, "was not judged as engine"),
        (["verify", ".", "--key", "hil.pub", "--commit", "a" * 40], FAILED, "aaaaaaaaaaaa is requested"),
        (["verify", "none", "--key", "hil.pub"], USER, "there is no bundle"),
    ],
    ids=range(16),
)
def test_mistakes_are_one_message(
    signed: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    code: int,
    message: str,
) -> None:
    """Messages name problem, file and next step; user errors exit with 4, refusals with 1."""
    monkeypatch.chdir(signed)
    assert main(arguments) == code
    err = capsys.readouterr().err
    assert err.startswith("error: ")
    assert err.count("\n") == 1
    assert message in err


def test_a_policy_file_of_its_own(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A policy file with only ``[gate]`` judges a saved report, shows its rules, and has mistakes reported by line."""
    assert main(["attest", str(folder), "--key", str(folder / "hil.key")]) == 0
    policy = folder / "release.toml"
    pem = (folder / "hil.pub").read_text()
    policy.write_text(f'[gate]\nrequire = ["contract.*"]\nevidence = "host"\nsigned_by = ["""\n{pem}"""]\n')
    assert main(["gate", str(folder), "--policy", str(policy), "--explain"]) == 0
    assert "signed by key" in capsys.readouterr().out
    (folder / "report.sigstore.json").unlink()
    assert main(["gate", str(folder), "--policy", str(policy)]) == FAILED
    assert "the policy requires a signature" in " ".join(capsys.readouterr().out.split())
    for key in ("signed_by", "state"):  # as a template writes it whose variable is not set
        policy.write_text(f'[gate]\nrequire = ["contract.*"]\nevidence = "host"\n{key} = []\n')
        assert main(["gate", str(folder), "--policy", str(policy)]) == USER
        assert f"release.toml:4: gate.{key}: is empty, so it demands nothing" in capsys.readouterr().err
    policy.write_text("")
    assert main(["gate", str(folder), "--policy", str(policy)]) == USER
    assert "release.toml: it has no table [gate]" in capsys.readouterr().err
    policy.write_text('[gate]\nmax_age = "7 d"\n')
    assert main(["gate", str(folder), "--policy", str(policy)]) == USER
    assert "release.toml:2: gate.max_age:" in capsys.readouterr().err
