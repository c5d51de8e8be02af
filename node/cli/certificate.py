"""``zvmd certificate``: certificates of the node's own authority, for clients."""

from __future__ import annotations

import datetime
import hashlib
import re
import ssl
from functools import partial
from pathlib import Path

import click

from node.auth.errors import CertificateExists
from node.auth.private import write_private
from node.cli.output import print_json, say
from node.ops.acts import recorded_act
from storage.directory import layout
from zvmd.abi import bad_input
from zvmd.endpoint import data_directory

NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9.-]{0,62}[A-Za-z0-9])?")
DAYS = 397


@click.group()
def certificate() -> None:
    """Certificates by which clients show who they are over HTTPS."""


@certificate.command()
@click.argument("name")
@click.option("--out", type=click.Path(file_okay=False), default=".", help="Folder for NAME.pem.  [this one]")
@click.option("--days", type=click.IntRange(1, 3650), default=DAYS, show_default=True, help="How long it is valid.")
@click.option("--data-dir", envvar="ZVMD_DATA_DIR", help="The node's data directory, which has the authority.")
@click.option("--json", "as_json", is_flag=True, help="Print file and digest as JSON.")
def client(name: str, out: str, days: int, data_dir: str | None, as_json: bool) -> None:
    """Issue a certificate for a client and write it with its key into NAME.pem.

    A node that runs with http.client_authority = "auto" takes it. `zvmd token create` gives it rights.
    """
    # Here, since it takes 0.2 s to load.
    from node.auth.tls import issue_client_certificate

    if NAME.fullmatch(name) is None:
        raise bad_input(f"{name[:80]!r} cannot name a client", "use up to 64 letters, digits, dots, hyphens")
    path = Path(out) / f"{name}.pem"
    if path.exists() or path.is_symlink():
        raise CertificateExists(f"{path} exists")
    place, now = data_directory(data_dir), datetime.datetime.now(datetime.UTC)
    with recorded_act("certificate client", place, partial(say, err=True), name=name, days=days):
        content = issue_client_certificate(place / layout.TLS, name, now, days)
        write_private(path, content)
    text = content.decode()
    digest = hashlib.sha256(ssl.PEM_cert_to_DER_cert(text[: text.index("-----BEGIN PRIVATE KEY")])).hexdigest()
    if as_json:
        print_json({"file": str(path), "sha256": digest})
        return
    say(f"{path}: certificate and key of {name}, for its owner only")
    say(f"sha256 {digest}")
    say(f"it has no rights by itself: zvmd token create {name} --scope read --certificate {path}")
