"""Keys: ECDSA on the curve P-256 with SHA-256, the one kind that every tool verifies.

A private key is held by its signer and by nothing else; no message, report or traceback of ours has it.
"""

from __future__ import annotations

import base64
import hashlib
import os
import stat
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature

from hil.errors import UserError
from hil.report.shown_text import one_line

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

MOST = 64 * 2**10
"""Bytes of a key file; one of P-256 has about 250."""
PASSWORD = "HIL_SIGN_KEY_PASSWORD"  # noqa: S105 - the name of a variable, not what is in it
MAKE = "openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -aes256 -out hil.key"
PUBLIC = "openssl pkey -in hil.key -pubout -out hil.pub"
SECRET = "PRIVATE KEY"  # noqa: S105 - what a PEM of one says, by which it is told apart
LONGEST = 200
OTHERS = 0o077
ALGORITHM = ec.ECDSA(hashes.SHA256())
ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
"""Of P-256's group: n in SEC 2 (2010), 2.4.2."""


@dataclass(frozen=True)
class PublicKey:
    """A public key. ``id`` is the SHA-256 of its SubjectPublicKeyInfo (DER), in hex; that names it everywhere."""

    id: str
    der: bytes = field(repr=False)
    _key: ec.EllipticCurvePublicKey = field(repr=False, compare=False)

    @property
    def hint(self) -> str:
        """The id as Sigstore's bundles have it: base64 of the digest."""
        return base64.b64encode(bytes.fromhex(self.id)).decode("ascii")

    @property
    def pem(self) -> str:
        """The key as tools take it."""
        kind = serialization.PublicFormat.SubjectPublicKeyInfo
        return self._key.public_bytes(serialization.Encoding.PEM, kind).decode("ascii")

    def signed(self, signature: bytes, data: bytes) -> bool:
        """Whether ``signature`` (DER) is this key's over ``data``, ``lowest`` or not."""
        try:
            self._key.verify(signature, data, ALGORITHM)
        except InvalidSignature:
            return False
        return True


class Signer(Protocol):
    """Whatever signs: a key here, or one that never leaves its token or service."""

    @property
    def public(self) -> PublicKey:
        """The key that verifies what ``sign`` gives."""

    def sign(self, data: bytes) -> bytes:
        """ECDSA on P-256 over the SHA-256 of ``data``, as DER. Raises ``UserError`` or ``LabError`` if it cannot."""


class KeySigner:
    """A private key in this process. Shown, compared and stored it is only its id."""

    def __init__(self, key: ec.EllipticCurvePrivateKey) -> None:
        self.__key = key
        self.public = _public(key.public_key())

    def __repr__(self) -> str:
        return f"KeySigner({self.public.id[:12]}…)"

    def __reduce__(self) -> str:
        raise TypeError("a private key is not stored")

    def sign(self, data: bytes) -> bytes:
        """As ``Signer.sign``."""
        return lowest(self.__key.sign(data, ALGORITHM))


def lowest(signature: bytes) -> bytes:
    """Return the ECDSA ``signature`` (DER) with the lower of the two values of s that verify.

    For whoever has (r, s) can make (r, n - s) without the key. Raises ``ValueError`` for what is not such a signature.
    """
    r, s = decode_dss_signature(signature)
    return encode_dss_signature(r, min(s, ORDER - s))


def key_from_file(path: Path) -> KeySigner:
    """The private key in a PEM file; ``HIL_SIGN_KEY_PASSWORD`` opens one that is encrypted.

    Raises ``UserError`` for a file that others can read, and for what is no private key of P-256.
    """
    if SECRET in str(path):
        raise UserError("a private key stands where its file's name belongs: others may have seen it: make a new one")
    return _private(_content(path, private=True), _shown(path))


def key_from_environment(name: str) -> KeySigner:
    """The private key (PEM) in the variable ``name``, as CI systems hand over secrets. Raises as ``key_from_file``."""
    if SECRET in name:
        raise UserError("a private key stands where a variable's name belongs: others may have seen it: make a new one")
    content = os.environ.get(name)
    if not content:
        raise UserError(
            f"the environment has no variable {one_line(name, LONGEST)}, or an empty one: put the key there"
        )
    return _private(content.encode("utf-8", "replace"), f"variable {one_line(name, LONGEST)}")


def public_key(path: Path) -> PublicKey:
    """The public key in a PEM file. Raises ``UserError`` for what is none of P-256."""
    return parse_public(_content(path, private=False), _shown(path))


def signature_by(key: PublicKey, signed_by: Iterable[str]) -> dict[str, str]:
    """What came of a signature by ``key`` under a policy's ``signed_by``, as ``hil.gate.demands.Circumstances`` has it.

    Raises ``UserError`` for a key of the policy's that cannot be read.
    """
    named = [parse_public(text, "gate.signed_by").id for text in signed_by]
    wrong = "" if key.id in named else f"key {key.id[:12]} is not one that gate.signed_by names"
    return {"unsigned": wrong, "signer": key.id}


def parse_public(content: bytes | str, name: str = "public key") -> PublicKey:
    """The public key in a PEM, or in the base64 that stands in one; ``name`` goes into messages.

    Raises ``UserError`` for what is none of P-256.
    """
    text = content.encode("utf-8", "replace") if isinstance(content, str) else content
    if SECRET.encode() in text:
        raise UserError(f"{name}: holds a private key, a public one is wanted: {PUBLIC}")
    try:
        if b"-----BEGIN" in text:
            key = serialization.load_pem_public_key(text)
        else:
            key = serialization.load_der_public_key(base64.b64decode(text.strip(), validate=True))
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise UserError(f"{name}: no public key in PEM: {PUBLIC}") from None
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP256R1):
        raise UserError(f"{name}: not a key of ECDSA P-256, which is what is verified here: {MAKE}")
    return _public(key)


def _public(key: ec.EllipticCurvePublicKey) -> PublicKey:
    der = key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    return PublicKey(hashlib.sha256(der).hexdigest(), der, key)


def _private(content: bytes, name: str) -> KeySigner:
    password = os.environ.get(PASSWORD)
    encrypted = b"ENCRYPTED" in content
    if encrypted and not password:
        raise UserError(f"{name}: the key is encrypted: put its password into the variable {PASSWORD}")
    # Whatever the library says of a key it cannot read, nothing of it is repeated.
    try:
        key = serialization.load_pem_private_key(content, password.encode() if encrypted and password else None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        what = f"is no private key in PEM, or {PASSWORD} is wrong" if encrypted else "is no private key in PEM"
        raise UserError(f"{name}: what is there {what}: {MAKE}") from None
    if not isinstance(key, ec.EllipticCurvePrivateKey) or not isinstance(key.curve, ec.SECP256R1):
        raise UserError(f"{name}: not a key of ECDSA P-256, which is what every tool verifies: {MAKE}")
    return KeySigner(key)


def _shown(path: Path) -> str:
    return one_line(str(path), LONGEST)


def _content(path: Path, *, private: bool) -> bytes:
    try:
        with path.open("rb") as file:
            about = os.fstat(file.fileno())
            content = file.read(MOST + 1)
    except (OSError, ValueError) as error:
        why = (error.strerror if isinstance(error, OSError) else None) or "not a path"
        raise UserError(f"{_shown(path)}: the key cannot be read ({why}): name its file") from None
    if private and stat.S_ISREG(about.st_mode):
        if about.st_mode & OTHERS:
            raise UserError(f"{_shown(path)}: others can read this private key: chmod 600 it, or make a new one")
        if about.st_uid not in (os.geteuid(), 0):
            raise UserError(f"{_shown(path)}: this private key belongs to somebody else: sign with one of your own")
    if len(content) > MOST:
        raise UserError(f"{_shown(path)}: larger than {MOST // 1024} KiB: this is no key")
    return content
