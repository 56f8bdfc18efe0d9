"""Signed reports: made by ``attest``, believed only through ``verify``.

The format is that of others (in-toto Statement v1, test-result v0.1, DSSE, Sigstore bundle v0.3), so their tools verify
it as well: docs/signing.md. ``cryptography`` is imported with this package and not before.
"""

from __future__ import annotations

from hil.attestation.attesting import attest
from hil.attestation.keys import (
    KeySigner,
    PublicKey,
    Signer,
    key_from_environment,
    key_from_file,
    parse_public,
    public_key,
)
from hil.attestation.statement import Role, Subject
from hil.attestation.verifying import Freshness, Verified, verify

__all__ = [
    "Freshness",
    "KeySigner",
    "PublicKey",
    "Role",
    "Signer",
    "Subject",
    "Verified",
    "attest",
    "key_from_environment",
    "key_from_file",
    "parse_public",
    "public_key",
    "verify",
]
