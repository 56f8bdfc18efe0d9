from __future__ import annotations

import pickle
import subprocess
import traceback
from typing import TYPE_CHECKING

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from hil.attestation import KeySigner, key_from_environment, key_from_file, parse_public, public_key
from hil.attestation.keys import MAKE, PASSWORD, PUBLIC, lowest
from hil.errors import UserError
from tests.attestation import case as cases

if TYPE_CHECKING:
    from pathlib import Path


def put(path: Path, content: bytes, mode: int = 0o600) -> Path:
    """Write a key file and return its path."""
    path.write_bytes(content)
    path.chmod(mode)
    return path


def test_a_key_from_a_file_and_from_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A key from a file and from the environment is the same, named by the digest of its public key."""
    pem = cases.pem()
    monkeypatch.setenv("SIGNING", pem.decode())
    one, two = key_from_file(put(tmp_path / "hil.key", pem)), key_from_environment("SIGNING")
    assert one.public == two.public
    assert parse_public(one.public.pem).id == one.public.id
    assert one.public.verifies(two.sign(b"x"), b"x")
    assert not one.public.verifies(two.sign(b"x"), b"y")


def test_a_signature_has_one_form() -> None:
    """Of the two valid signatures, signers return the one with the lower s."""
    signer = cases.new_signer()
    for number in range(20):
        data = str(number).encode()
        signature = signer.sign(data)
        assert signer.public.verifies(signature, data)
        assert lowest(signature) == signature
        assert lowest(cases.other_signature(signature)) == signature


def test_an_encrypted_key_needs_its_password(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The password comes from the environment; a missing or wrong one gives one message."""
    path = put(tmp_path / "hil.key", cases.pem(password="correct horse"))  # noqa: S106 - of a key of this test
    with pytest.raises(UserError, match=PASSWORD):
        key_from_file(path)
    monkeypatch.setenv(PASSWORD, "wrong")
    with pytest.raises(UserError, match=f"{PASSWORD} is wrong"):
        key_from_file(path)
    monkeypatch.setenv(PASSWORD, "correct horse")
    assert isinstance(key_from_file(path), KeySigner)


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o644])
def test_a_key_that_others_can_read_is_refused(tmp_path: Path, mode: int) -> None:
    """A private key that others can read is refused, as by ssh."""
    with pytest.raises(UserError, match="others can read"):
        key_from_file(put(tmp_path / "hil.key", cases.pem(), mode))


@pytest.mark.parametrize(
    "content", [b"", b"no key", b"x" * 70_000, cases.pem(curve=ec.SECP384R1()), cases.pem()[:100]], ids=range(5)
)
def test_a_file_without_a_p256_key(tmp_path: Path, content: bytes) -> None:
    """Keys of other kinds, truncated keys and empty files give one message that names the file."""
    path = put(tmp_path / "hil.key", content)
    with pytest.raises(UserError, match=r"hil\.key"):
        key_from_file(path)
    with pytest.raises(UserError, match=r"hil\.key"):
        public_key(path)


def test_a_missing_file_or_variable(tmp_path: Path) -> None:
    """A missing file and a missing variable give one message each."""
    for name in (tmp_path / "none", tmp_path, tmp_path / "a\0b"):
        with pytest.raises(UserError):
            key_from_file(name)
    with pytest.raises(UserError, match="NO_SUCH_VARIABLE"):
        key_from_environment("NO_SUCH_VARIABLE")


def test_no_message_contains_a_part_of_a_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No message or traceback contains a part of a private key, whether damaged or passed in the wrong place."""
    pem = cases.pem().decode()
    lines = [line for line in pem.splitlines() if "-----" not in line]
    damaged = pem.replace(lines[0], lines[0][:-4] + "AAAA")
    path = put(tmp_path / "hil.key", damaged.encode())
    monkeypatch.setenv("DAMAGED", damaged)
    attempts = (
        lambda: key_from_file(path),
        lambda: key_from_environment("DAMAGED"),
        lambda: key_from_file(tmp_path / pem),
        lambda: key_from_environment(pem),
        lambda: public_key(path),
        lambda: parse_public(pem),
    )
    for attempt in attempts:
        with pytest.raises(UserError) as caught:
            attempt()
        text = "".join(traceback.format_exception(caught.value))
        assert not [line for line in lines if line[:20] in text]


def test_a_signer_is_neither_shown_nor_stored() -> None:
    """A signer's ``repr`` shows only the public id, and it cannot be pickled."""
    signer = cases.new_signer()
    assert repr(signer) == f"KeySigner({signer.public.id[:12]}…)"
    with pytest.raises(TypeError):
        pickle.dumps(signer)


def test_openssl_makes_keys_as_the_messages_say(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The commands in messages and documentation create a key that signs, and its public key."""
    script = f"{MAKE} -pass pass:secret && {PUBLIC} -passin pass:secret"
    shell = ["/bin/bash", "-euo", "pipefail", "-c", script]
    subprocess.run(shell, cwd=tmp_path, check=True, capture_output=True)
    monkeypatch.setenv(PASSWORD, "secret")
    assert key_from_file(tmp_path / "hil.key").public == public_key(tmp_path / "hil.pub")
