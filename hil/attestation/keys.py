"""Read keys, sign and verify, by ECDSA on the curve P-256 with SHA-256: the only kind that all verifying tools support.

Only a signer holds a private key. No message, report or traceback contains it.
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
"""The largest key file in bytes. A P-256 key has about 250."""
PASSWORD = "HIL_SIGN_KEY_PASSWORD"  # noqa: S105 - the name of a variable, not a password
MAKE = "openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -aes256 -out hil.key"
PUBLIC = "openssl pkey -in hil.key -pubout -out hil.pub"
SECRET = "PRIVATE KEY"  # noqa: S105 - text that identifies a private key in PEM format
LONGEST = 200
OTHERS = 0o077
ALGORITHM = ec.ECDSA(hashes.SHA256())
ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
"""The order of the group of P-256: n in SEC 2 (2010), 2.4.2."""


@dataclass(frozen=True)
class PublicKey:
    """A public key. ``id`` is the SHA-256 (hex) of its SubjectPublicKeyInfo (DER); it names the key everywhere."""

    id: str
    der: bytes = field(repr=False)
    _key: ec.EllipticCurvePublicKey = field(repr=False, compare=False)

    @property
    def hint(self) -> str:
        """The id as Sigstore bundles write it: the SHA-256 in base64 instead of hex."""
        return base64.b64encode(bytes.fromhex(self.id)).decode("ascii")

    @property
    def pem(self) -> str:
        """The key in PEM format."""
        kind = serialization.PublicFormat.SubjectPublicKeyInfo
        return self._key.public_bytes(serialization.Encoding.PEM, kind).decode("ascii")

    def verifies(self, signature: bytes, data: bytes) -> bool:
        """Return whether ``signature`` (DER) is a valid signature of ``data`` by this key.

        Both values of s that verify are accepted (see ``lowest``).
        """
        try:
            self._key.verify(signature, data, ALGORITHM)
        except InvalidSignature:
            return False
        return True


class Signer(Protocol):
    """An object that signs with a private key, in this process, in a hardware token or in a signing service."""

    @property
    def public(self) -> PublicKey:
        """The public key by which the signatures are verified."""

    def sign(self, data: bytes) -> bytes:
        """Return the ECDSA P-256 signature (DER) of the SHA-256 of ``data``.

        Raises ``UserError`` or ``LabError`` if it cannot sign.
        """


class KeySigner:
    """A private key in this process. Its ``repr`` shows only the key's id, and it cannot be pickled."""

    def __init__(self, key: ec.EllipticCurvePrivateKey) -> None:
        self.__key = key
        self.public = _public(key.public_key())

    def __repr__(self) -> str:
        return f"KeySigner({self.public.id[:12]}…)"

    def __reduce__(self) -> str:
        raise TypeError("a private key cannot be pickled")

    def sign(self, data: bytes) -> bytes:
        """Sign ``data`` as ``Signer.sign`` does."""
        return lowest(self.__key.sign(data, ALGORITHM))


def lowest(signature: bytes) -> bytes:
    """Return the ECDSA ``signature`` (DER) with the lower of the two values of s that verify.

    Raises ``ValueError`` if ``signature`` is not an ECDSA signature.
    """
    r, s = decode_dss_signature(signature)
    return encode_dss_signature(r, min(s, ORDER - s))


def key_from_file(path: Path) -> KeySigner:
    """Return the private key in a PEM file.

    An encrypted key needs its password in ``HIL_SIGN_KEY_PASSWORD``.

    Raises ``UserError`` if the file cannot be read, has no P-256 private key, can be read by others, or belongs to a
    user other than this one or root, and for a wrong or missing password.
    """
    if SECRET in str(path):
        raise UserError(
            "a private key was given instead of its file's name: others may have read it on the command line: "
            "create a new key"
        )
    return _private(_content(path, private=True), _shown(path))


def key_from_environment(name: str) -> KeySigner:
    """Return the private key (PEM) in the environment variable ``name``.

    Raises ``UserError`` if the variable has no P-256 private key, or if the password for it is wrong or missing.
    """
    if SECRET in name:
        raise UserError(
            "a private key was given instead of a variable's name: others may have read it on the command line: "
            "create a new key"
        )
    content = os.environ.get(name)
    if not content:
        raise UserError(
            f"the environment variable {one_line(name, LONGEST)} is unset or empty: put the key (PEM) into it"
        )
    return _private(content.encode("utf-8", "replace"), f"variable {one_line(name, LONGEST)}")


def public_key(path: Path) -> PublicKey:
    """Return the public key in a PEM file. Raises ``UserError`` if it cannot be read or has no P-256 public key."""
    return parse_public(_content(path, private=False), _shown(path))


def signature_by(key: PublicKey, signed_by: Iterable[str]) -> dict[str, str]:
    """Return the fields ``signer`` and ``unsigned`` of ``hil.gate.demands.Circumstances`` for a signature by ``key``.

    ``signed_by`` are the public keys of the policy. Raises ``UserError`` if one of these cannot be parsed.
    """
    trusted = [parse_public(text, "gate.signed_by").id for text in signed_by]
    unsigned = "" if key.id in trusted else f"key {key.id[:12]} is not listed in gate.signed_by"
    return {"unsigned": unsigned, "signer": key.id}


def parse_public(content: bytes | str, name: str = "public key") -> PublicKey:
    """Return the public key in a PEM text, or in the base64 part of a PEM text. Messages begin with ``name``.

    Raises ``UserError`` if it is not a P-256 public key.
    """
    text = content.encode("utf-8", "replace") if isinstance(content, str) else content
    if SECRET.encode() in text:
        raise UserError(f"{name}: contains a private key, a public key is required: {PUBLIC}")
    if text.count(b"-----BEGIN") > 1:
        raise UserError(f"{name}: contains several keys: keep each in a file of its own, and name each")
    try:
        if b"-----BEGIN" in text:
            key = serialization.load_pem_public_key(text)
        else:
            key = serialization.load_der_public_key(base64.b64decode(text.strip(), validate=True))
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise UserError(f"{name}: not a public key in PEM format: {PUBLIC}") from None
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP256R1):
        raise UserError(f"{name}: not an ECDSA P-256 key, the only supported kind: {MAKE}")
    return _public(key)


def _public(key: ec.EllipticCurvePublicKey) -> PublicKey:
    der = key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    return PublicKey(hashlib.sha256(der).hexdigest(), der, key)


def _private(content: bytes, name: str) -> KeySigner:
    password = os.environ.get(PASSWORD)
    encrypted = b"ENCRYPTED" in content
    if encrypted and not password:
        raise UserError(f"{name}: the key is encrypted: set the environment variable {PASSWORD} to its password")
    # The library's error message is not repeated, because it could contain parts of the key.
    try:
        key = serialization.load_pem_private_key(content, password.encode() if encrypted and password else None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        what = "not a private key in PEM format" + (f", or {PASSWORD} is wrong" if encrypted else "")
        raise UserError(f"{name}: {what}: {MAKE}") from None
    if not isinstance(key, ec.EllipticCurvePrivateKey) or not isinstance(key.curve, ec.SECP256R1):
        raise UserError(f"{name}: not an ECDSA P-256 key, the only supported kind: {MAKE}")
    return KeySigner(key)


def _shown(path: Path) -> str:
    return one_line(str(path), LONGEST)


def _content(path: Path, *, private: bool) -> bytes:
    try:
        with path.open("rb") as file:
            status = os.fstat(file.fileno())
            content = file.read(MOST + 1)
    except (OSError, ValueError) as error:
        why = (error.strerror if isinstance(error, OSError) else None) or "not a path"
        raise UserError(f"{_shown(path)}: the key cannot be read ({why}): name its file") from None
    if private and stat.S_ISREG(status.st_mode):
        if status.st_mode & OTHERS:
            raise UserError(f"{_shown(path)}: others can read this private key: chmod 600 it, or create a new key")
        if status.st_uid not in (os.geteuid(), 0):
            raise UserError(f"{_shown(path)}: this private key belongs to another user: sign with your own key")
    if len(content) > MOST:
        raise UserError(f"{_shown(path)}: larger than {MOST // 1024} KiB, so it is not a key: name a PEM file")
    return content
