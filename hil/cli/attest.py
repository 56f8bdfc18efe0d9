"""``hil attest report --key hil.key``: sign a report, so that others can verify it."""

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
        typer.Option("--key", metavar="FILE", help="The private key: ECDSA P-256, PEM, readable only by you."),
    ] = None,
    key_env: Annotated[
        str | None,
        typer.Option("--key-env", metavar="NAME", help="The environment variable that holds the private key instead."),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out", metavar="FILE", help="The bundle to write; default: report.sigstore.json next to the report."
        ),
    ] = None,
) -> None:
    """Sign a report as an in-toto test result in a Sigstore bundle (DSSE), with the digests of its files.

    Before signing, the report is judged again and the engines next to it are hashed again. HIL_SIGN_KEY_PASSWORD
    decrypts an encrypted key.

    [bold]Create a key[/bold]

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
        raise UserError("exactly one key is needed: give it with --key FILE or --key-env NAME")
    bundle = attest(report, signer, out)
    console().print(Text(f"signed by key {signer.public.id[:12]}: {bundle}", style="green"))
