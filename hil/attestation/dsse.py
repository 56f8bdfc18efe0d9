"""Write and read a signed envelope (DSSE 1.0, https://github.com/secure-systems-lab/dsse) in a Sigstore bundle 0.3.

A bundle has exactly one valid serialization, and ``read`` accepts no other.
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
"""The largest bundle in bytes. The bundle of 40 models in 3 precisions has 0.4 MB."""


@dataclass(frozen=True)
class Envelope:
    """A payload, its only signature (DER), and the id of the key that, as the bundle states, made the signature."""

    payload: bytes
    signature: bytes
    key: str

    @property
    def signed(self) -> bytes:
        """The bytes that were signed."""
        return pae(self.payload)


def pae(payload: bytes, kind: str = PAYLOAD) -> bytes:
    """Return the bytes that DSSE signs (pre-authentication encoding): ``kind`` and ``payload`` with their lengths."""
    name = kind.encode("utf-8")
    return b"DSSEv1 %d %s %d %s" % (len(name), name, len(payload), payload)


def write(payload: bytes, signature: bytes, key: PublicKey) -> str:
    """Return the text of a bundle with ``payload`` and its ``signature`` (DER) by ``key``."""
    return _text(payload, signature, key.id, key.hint)


def read(content: bytes, name: str) -> Envelope:
    """Return the envelope in the bytes of a bundle; the signature is not verified here. Messages begin with ``name``.

    Raises ``AttestationRefused`` for any bundle that is not exactly in the form of ``write``.
    """
    if len(content) > MOST:
        what = f"larger than {MOST // 2**20} MiB, so it is not a bundle of hil"
        raise AttestationRefused(f"{name}: {what}: name the file that hil attest wrote")
    try:
        document = strictjson.loads(content)
    except (ValueError, RecursionError) as error:
        why = str(error) if type(error) is ValueError else "not JSON"
        raise AttestationRefused(
            f"{name}: not a bundle, or a damaged one ({why}): sign again with hil attest"
        ) from None
    try:
        envelope, hint = _parts(document)
        same = _text(envelope.payload, envelope.signature, envelope.key, hint).encode("utf-8") == content
        problem = None if same else "it is not in the form that hil writes, so it was changed"
    except (_Malformed, UnicodeEncodeError) as error:
        problem = str(error) if isinstance(error, _Malformed) else "it contains invalid Unicode"
    if problem is not None:
        raise AttestationRefused(f"{name}: refused: {problem}: sign again with hil attest")
    return envelope


class _Malformed(Exception):  # noqa: N818 - never leaves this module
    """A bundle is malformed; the message states how."""


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
        raise _Malformed(f"its media type is not {BUNDLE}")
    material = _fields(top["verificationMaterial"], "publicKey", "tlogEntries")
    if material["tlogEntries"] != []:
        raise _Malformed("it has entries of a transparency log, which hil does not verify")
    hint = _fields(material["publicKey"], "hint")["hint"]
    envelope = _fields(top["dsseEnvelope"], "payload", "payloadType", "signatures")
    if envelope["payloadType"] != PAYLOAD:
        raise _Malformed(f"its payload is not {PAYLOAD}")
    signatures = envelope["signatures"]
    if not isinstance(signatures, list) or len(signatures) != 1:
        raise _Malformed("it must have exactly one signature")
    signature = _fields(signatures[0], "keyid", "sig")
    key = signature["keyid"]
    if not isinstance(key, str) or not isinstance(hint, str) or _decoded(hint).hex() != key:
        raise _Malformed("it names two different keys")
    return Envelope(_decoded(envelope["payload"]), _decoded(signature["sig"]), key), hint


def _fields(value: Any, *names: str) -> dict[str, Any]:
    if not isinstance(value, dict) or sorted(value) != sorted(names):
        raise _Malformed(f"one of its JSON objects must have exactly the fields {', '.join(names)}")
    return value


def _decoded(text: Any) -> bytes:
    try:
        decoded = base64.b64decode(text, validate=True) if isinstance(text, str) else b""
    except (binascii.Error, ValueError):
        decoded = b""
    if not decoded or base64.b64encode(decoded).decode("ascii") != text:
        raise _Malformed("one of its values is empty or not canonical base64")
    return decoded
