"""Signs the report with the key that ``--hil-sign-key`` names. The key is read before any test."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

from hil.errors import ExitCode, HilError, UserError

if TYPE_CHECKING:
    from hil.attestation import Signer
    from hil.plugins.run_state import RunState

VARIABLE = "env:"


def signer(run: RunState) -> Signer | None:
    """Return the signer of this run's report, or ``None`` without ``--hil-sign-key``.

    The variables of key and password are removed from the environment. Raise ``UserError`` for an unusable key. With
    ``--hil-gate`` and ``gate.signed_by``, a missing or unlisted key is an error too.
    """
    option: str | None = run.pytest_config.getoption("hil_sign_key", None)
    allowed = run.config.spec.gate.signed_by if run.config else ()
    gated = bool(run.pytest_config.getoption("hil_gate", None)) and bool(allowed)
    if option is None:
        if gated:
            what = "--hil-gate with gate.signed_by needs a signature"
            raise UserError(f"{what}: give --hil-sign-key, or sign and judge afterwards: hil attest, hil gate")
        return None
    from hil.attestation import key_from_environment, key_from_file, parse_public
    from hil.attestation.keys import PASSWORD

    folder = run.pytest_config.invocation_params.dir
    name = option.removeprefix(VARIABLE)
    key = key_from_environment(name) if option.startswith(VARIABLE) else key_from_file(folder / option)
    for variable in (PASSWORD, *([name] if option.startswith(VARIABLE) else [])):
        os.environ.pop(variable, None)
    if gated and key.public.id not in {parse_public(text).id for text in allowed}:
        what = f"--hil-sign-key: key {key.public.id[:12]} is not listed in gate.signed_by"
        raise UserError(f"{what}: sign with a listed key")
    return key


def sign(run: RunState) -> int:
    """Sign the written report if there is a signer. Return 0; on an error, print it and return its exit code."""
    if run.signer is None:
        return int(ExitCode.PASSED)
    from hil.attestation import attest

    try:
        attest(run.report_dir, run.signer)
    except HilError as error:
        sys.stderr.write(f"error: the report is not signed: {error}\n")
        return int(error.exit_code)
    return int(ExitCode.PASSED)
