"""``hil attest report --key hil.key``: a report becomes evidence that others can verify."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

from hil.cli.views.console import console
from hil.errors import UserError


def command(
    report: Annotated[Path, typer.Argument(metavar="REPORT", help="report.json, or its folder.")] = Path("report"),
    key: Annotated[
        Path | None,
        typer.Option("--key", metavar="FILE", help="The private key, ECDSA P-256 in PEM; readable by you alone."),
    ] = None,
    key_env: Annotated[
        str | None, typer.Option("--key-env", metavar="NAME", help="The variable that holds the private key instead.")
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", metavar="FILE", help="Where the bundle goes (default: report.sigstore.json beside it)."),
    ] = None,
) -> None:
    """Sign a report: in-toto test result, DSSE, Sigstore bundle; bound to engines, models and calibration caches.

    The report is read and judged again first, and the engines beside it are hashed again. HIL_SIGN_KEY_PASSWORD opens a
    key that is encrypted.

    [bold]A new key[/bold]

      openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -aes256 -out hil.key

      openssl pkey -in hil.key -pubout -out hil.pub

    [bold]Examples[/bold]

      hil attest report --key hil.key

      hil attest report/report.json --key-env SIGNING_KEY --out evidence/detector.sigstore.json
    """
    from hil.attestation import attest, key_from_environment, key_from_file

    if key is not None and key_env is None:
        signer = key_from_file(key)
    elif key_env is not None and key is None:
        signer = key_from_environment(key_env)
    else:
        raise UserError("one key signs: name it with --key FILE or with --key-env NAME")
    bundle = attest(report, signer, out)
    console().print(Text(f"signed by key {signer.public.id[:12]}: {bundle}", style="green"))
