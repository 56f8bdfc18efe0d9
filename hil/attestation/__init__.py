"""Sign reports and verify signed reports: ``attest`` signs one, ``verify`` checks the signature and what was signed.

Other tools can verify the bundles, which follow in-toto Statement v1, test-result v0.1, DSSE and Sigstore bundle v0.3
(docs/signing.md). Only this package imports ``cryptography``.
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
