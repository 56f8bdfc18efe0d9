"""The signed envelope (DSSE 1.0, https://github.com/secure-systems-lab/dsse) in a Sigstore bundle of version 0.3.

Written in one form and read in that form alone: a bundle with one byte changed anywhere is another one, or none.
"""

from __future__ import annotations

import base64
import binascii
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from hil.errors import AttestationRefused
from hil.files import strictjson

if TYPE_CHECKING:
    from hil.attestation.keys import PublicKey

PAYLOAD = "application/vnd.in-toto+json"
BUNDLE = "application/vnd.dev.sigstore.bundle.v0.3+json"
MOST = 8 * 2**20
"""Bytes of a bundle; that of 40 models in 3 precisions has 0.4 MB."""


@dataclass(frozen=True)
class Envelope:
    """A payload, its one signature (DER) and the id of the key that is said to have made it."""

    payload: bytes
    signature: bytes
    key: str

    @property
    def signed(self) -> bytes:
        """The bytes that the signature is over."""
        return pae(self.payload)


def pae(payload: bytes, kind: str = PAYLOAD) -> bytes:
    """The pre-authentication encoding: type and payload with their lengths, so that neither can be taken for other."""
    name = kind.encode("utf-8")
    return b"DSSEv1 %d %s %d %s" % (len(name), name, len(payload), payload)


def write(payload: bytes, signature: bytes, key: PublicKey) -> str:
    """The text of a bundle."""
    return _text(payload, signature, key.id, key.hint)


def read(content: bytes, name: str) -> Envelope:
    """The envelope in a bundle's bytes; nothing of it is verified yet. ``name`` goes into messages.

    Raises ``AttestationRefused`` for what is not exactly such a bundle: unknown types, other fields, another number of
    signatures than one, a key twice, base64 or JSON in another form than it is written in here.
    """
    if len(content) > MOST:
        raise AttestationRefused(f"{name}: larger than {MOST // 2**20} MiB: this is no bundle of hil")
    try:
        document = strictjson.loads(content)
    except (ValueError, RecursionError) as error:
        why = str(error) if type(error) is ValueError else "not JSON"
        raise AttestationRefused(f"{name}: no bundle, or a damaged one ({why}): sign again with hil attest") from None
    try:
        envelope, hint = _parts(document)
        same = _text(envelope.payload, envelope.signature, envelope.key, hint).encode("utf-8") == content
        problem = None if same else "it is not in the form that hil writes, so something touched it"
    except (_Odd, UnicodeEncodeError) as error:
        problem = str(error) if isinstance(error, _Odd) else "it holds what is no text"
    if problem is not None:
        raise AttestationRefused(f"{name}: refused: {problem}: sign again with hil attest")
    return envelope


class _Odd(Exception):  # noqa: N818 - never leaves this module
    """What is wrong with a bundle."""


def _text(payload: bytes, signature: bytes, key: str, hint: str) -> str:
    document = {
        "mediaType": BUNDLE,
        "verificationMaterial": {"publicKey": {"hint": hint}, "tlogEntries": []},
        "dsseEnvelope": {
            "payload": base64.b64encode(payload).decode("ascii"),
            "payloadType": PAYLOAD,
            "signatures": [{"keyid": key, "sig": base64.b64encode(signature).decode("ascii")}],
        },
    }
    return json.dumps(document, separators=(",", ":"), ensure_ascii=False) + "\n"


def _parts(document: Any) -> tuple[Envelope, str]:
    top = _fields(document, "mediaType", "verificationMaterial", "dsseEnvelope")
    if top["mediaType"] != BUNDLE:
        raise _Odd(f"its media type is not {BUNDLE}")
    material = _fields(top["verificationMaterial"], "publicKey", "tlogEntries")
    if material["tlogEntries"] != []:
        raise _Odd("it has entries of a transparency log, which nobody verifies here")
    hint = _fields(material["publicKey"], "hint")["hint"]
    envelope = _fields(top["dsseEnvelope"], "payload", "payloadType", "signatures")
    if envelope["payloadType"] != PAYLOAD:
        raise _Odd(f"its payload is not {PAYLOAD}")
    signatures = envelope["signatures"]
    if not isinstance(signatures, list) or len(signatures) != 1:
        raise _Odd("it must have exactly one signature")
    signature = _fields(signatures[0], "keyid", "sig")
    key = signature["keyid"]
    if not isinstance(key, str) or not isinstance(hint, str) or _decoded(hint).hex() != key:
        raise _Odd("it names two different keys")
    return Envelope(_decoded(envelope["payload"]), _decoded(signature["sig"]), key), hint


def _fields(value: Any, *names: str) -> dict[str, Any]:
    if not isinstance(value, dict) or sorted(value) != sorted(names):
        raise _Odd(f"a part of it must have {', '.join(names)} and nothing else")
    return value


def _decoded(text: Any) -> bytes:
    try:
        found = base64.b64decode(text, validate=True) if isinstance(text, str) else b""
    except (binascii.Error, ValueError):
        found = b""
    if not found or base64.b64encode(found).decode("ascii") != text:
        raise _Odd("a part of it is empty or no canonical base64")
    return found
