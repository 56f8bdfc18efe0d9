"""A signed report with all signed files next to it: the starting point of the attestation tests."""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature

from hil.attestation import KeySigner, attest, dsse
from hil.attestation.keys import ORDER
from hil.gate.gate import seal
from hil.report.write_report import finish
from tests.report import sample

if TYPE_CHECKING:
    from pathlib import Path

    from hil.attestation import PublicKey
    from hil.report.schema import Report

ENGINES = (("digits", "fp32"), ("digits", "int8"), ("arm", "fp32"), ("arm", "int8"))


@dataclass(frozen=True)
class Case:
    """A report's folder with its engines, models and bundle, and the key that signed it."""

    folder: Path
    signer: KeySigner

    @property
    def keys(self) -> list[PublicKey]:
        """The trusted keys: only the signer's."""
        return [self.signer.public]

    @property
    def bundle(self) -> Path:
        """The bundle's file."""
        return self.folder / "report.sigstore.json"

    @property
    def report(self) -> Path:
        """The report's file."""
        return self.folder / "report.json"

    def engine(self, model: str = "digits", precision: str = "int8") -> Path:
        """The engine's file."""
        return self.folder / "engines" / f"{model}-{precision}.onnx"

    @property
    def onnx(self) -> Path:
        """The model's file."""
        return self.folder / "digits.onnx"

    @property
    def cache(self) -> Path:
        """The calibration cache's file."""
        return self.folder / "digits.cache"

    def statement(self) -> dict[str, Any]:
        """Return the signed statement."""
        statement: dict[str, Any] = json.loads(base64.b64decode(self.document()["dsseEnvelope"]["payload"]))
        return statement

    def document(self) -> dict[str, Any]:
        """Return the bundle as JSON."""
        bundle: dict[str, Any] = json.loads(self.bundle.read_text())
        return bundle

    def put(self, document: Any) -> None:
        """Write another bundle, in the form that hil writes."""
        self.bundle.write_text(json.dumps(document, separators=(",", ":"), ensure_ascii=False) + "\n")

    def sign_again(self, statement: Any, signer: KeySigner | None = None) -> None:
        """Sign any statement with the case's key, or with another signer's, as the holder of a stolen key could."""
        who = signer or self.signer
        payload = statement if isinstance(statement, bytes) else json.dumps(statement).encode()
        self.bundle.write_text(dsse.write(payload, who.sign(dsse.pae(payload)), who.public))


def other_signature(signature: bytes) -> bytes:
    """Return the second valid signature (DER) with the same r, computed without the key."""
    r, s = decode_dss_signature(signature)
    return encode_dss_signature(r, ORDER - s)


def new_signer() -> KeySigner:
    """Return a new signer."""
    return KeySigner(ec.generate_private_key(ec.SECP256R1()))


def pem(*, curve: ec.EllipticCurve | None = None, password: str | None = None) -> bytes:
    """Return a new private key in PEM format."""
    key = ec.generate_private_key(curve or ec.SECP256R1())
    lock = serialization.BestAvailableEncryption(password.encode()) if password else serialization.NoEncryption()
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, lock)


def made(report: Report | None = None) -> Report:
    """Return a sealed report (by default a good run's) whose int8 engines have calibration caches."""
    draft = sample.draft() if report is None else report
    engines = tuple(
        each.model_copy(update={"calibration_cache": sample.digest("cache", each.model)})
        if each.precision == "int8"
        else each
        for each in draft.engines
    )
    return seal(draft.model_copy(update={"engines": engines}))


def signed(folder: Path, report: Report | None = None, signer: KeySigner | None = None) -> Case:
    """Write report, engines, model and calibration cache into ``folder``, and sign the report."""
    finish(folder, made() if report is None else report)
    case = Case(folder, signer or new_signer())
    (folder / "engines").mkdir(exist_ok=True)
    for model, precision in ENGINES:
        case.engine(model, precision).write_text(f"engine {model} {precision}")
    case.onnx.write_text("model digits")
    case.cache.write_text("cache digits")
    attest(folder, case.signer)
    return case
