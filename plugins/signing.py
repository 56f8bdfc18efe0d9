"""--hil-sign-key: the key is read before anything runs and is out of reach from then on; the end of a run signs."""

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
    """Whoever signs this run's report, ``None`` if nobody was asked to.

    What holds the key or its password is taken out of the environment, so that neither the tests nor what they start
    finds it there. Raises ``UserError`` for a key that cannot be used, and where the policy wants another one or any.
    """
    given: str | None = run.pytest_config.getoption("hil_sign_key", None)
    wanted = run.config.spec.gate.signed_by if run.config else ()
    gated = bool(run.pytest_config.getoption("hil_gate", None)) and bool(wanted)
    if given is None:
        if gated:
            what = "--hil-gate is to judge by gate.signed_by and nobody signs"
            raise UserError(f"{what}: give --hil-sign-key, or sign and judge afterwards: hil attest, hil gate")
        return None
    from hil.attestation import key_from_environment, key_from_file, parse_public
    from hil.attestation.keys import PASSWORD

    here = run.pytest_config.invocation_params.dir
    name = given.removeprefix(VARIABLE)
    found = key_from_environment(name) if given.startswith(VARIABLE) else key_from_file(here / given)
    for each in (PASSWORD, *([name] if given.startswith(VARIABLE) else [])):
        os.environ.pop(each, None)
    if gated and found.public.id not in {parse_public(text).id for text in wanted}:
        what = f"--hil-sign-key: key {found.public.id[:12]} is not one that gate.signed_by names"
        raise UserError(f"{what}: sign with one that it names")
    return found


def sign(run: RunState) -> int:
    """Signs the report that is on disk; returns the exit code of what went wrong, 0 if nothing did."""
    if run.signer is None:
        return int(ExitCode.PASSED)
    from hil.attestation import attest

    try:
        attest(run.report_dir, run.signer)
    except HilError as error:
        sys.stderr.write(f"error: the report is not signed: {error}\n")
        return int(error.exit_code)
    return int(ExitCode.PASSED)
