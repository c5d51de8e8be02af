"""``zvmd token``: make, list and revoke the tokens by which other programs and machines come in.

While a node uses the data directory, the node does it, so that it counts at once; else the file is changed here.
"""

from __future__ import annotations

import datetime
import hashlib
import json
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, closing, nullcontext
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import click

from node.auth.private import for_owner_only
from node.cli.duration import Duration
from node.cli.link import link_options, open_link
from node.cli.output import print_json, say
from node.doors.errors import TokenRefused
from node.doors.token_book import TokenBook, scopes_of, shown, wish_of
from node.ops.acts import ACTS, recorded_act
from node.rpc.registry import Scope
from storage.directory import layout
from storage.directory.exclusion import DirectoryLock
from storage.errors import DataDirectoryLocked
from storage.io.files import RealFs
from zvmd.endpoint import data_directory

T = TypeVar("T")


@click.group()
def token() -> None:
    """Make, list and revoke tokens for other programs and machines, each with its scopes and limits."""


@token.command()
@click.argument("name")
@click.option(
    "--scope", "scopes", multiple=True, required=True, type=click.Choice([scope.value for scope in Scope]),
    help="What it permits; may be repeated. None includes another.",
)  # fmt: skip
@click.option("--expires", type=Duration(), help="How long it is valid, like 12h or 30d.  [until revoked]")
@click.option("--requests-per-second", type=int, help="Most requests a second.  [no limit]")
@click.option("--connections", type=int, help="Most connections at the same time.  [no limit]")
@click.option(
    "--certificate", type=click.Path(dir_okay=False, exists=True, path_type=Path),
    help="A client certificate (PEM) that gives these rights; no token is made.",
)  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Print the token and all about it as JSON.")
@link_options
def create(
    name: str,
    scopes: tuple[str, ...],
    expires: int | None,
    requests_per_second: int | None,
    connections: int | None,
    certificate: Path | None,
    as_json: bool,
    **link: Any,
) -> None:
    """Make a token and print it. It is shown only once: the node keeps only its hash."""
    given = {
        "expiresIn": expires,
        "requestsPerSecond": requests_per_second,
        "connections": connections,
        "certificateSha256": None if certificate is None else _fingerprint(certificate),
    }
    options = {key: value for key, value in given.items() if value is not None}

    def here(book: TokenBook) -> dict[str, Any]:
        entry, secret = book.create(name, scopes_of(scopes), wish_of(options), time.time())
        return shown(entry) | ({"token": secret} if secret else {})

    answer = _done("zvmd_tokenCreate", [name, list(scopes), options], here, link)
    if as_json:
        print_json(answer)
    else:
        say(answer.get("token") or f"token {answer['name']} ({answer['id']}) is for the certificate")


@token.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@link_options
def list_tokens(as_json: bool, **link: Any) -> None:
    """List the tokens, without their secrets. The node's own, in its file token, is not among them."""
    entries = _done("zvmd_tokenList", [], lambda book: [shown(entry) for entry in book.entries], link)
    if as_json:
        print_json(entries)
        return
    for entry in entries:
        say(_line(entry))
    if not entries:
        say("no tokens but the node's own")


@token.command()
@click.argument("name_or_id", metavar="NAME|ID")
@click.option("--json", "as_json", is_flag=True, help="Print what was revoked as JSON.")
@link_options
def revoke(name_or_id: str, as_json: bool, **link: Any) -> None:
    """Revoke a token: it is refused from now on, and connections that used it are closed."""
    answer = _done("zvmd_tokenRevoke", [name_or_id], lambda book: shown(book.revoke(name_or_id)), link)
    print_json(answer) if as_json else say(f"revoked {answer['name']} ({answer['id']})")


def _done(
    method: str, params: list[Any], here: Callable[[TokenBook], T], link: dict[str, Any]
) -> Any:
    """Have the node do it, or do it here if no node uses the data directory. Raises `ZvmdError`."""
    directory = data_directory(link["data_dir"])
    if link["url"] is None and not link["http"] and (directory / layout.FORMAT).exists():
        try:
            with for_owner_only(), closing(_Alone(directory)), _recorded(method, directory, params):
                return here(TokenBook.read(directory))
        except DataDirectoryLocked:
            pass
    with open_link(**link) as node:
        return node.rpc(method, *params)


class _Alone:
    """The data directory's lock."""

    def __init__(self, directory: Path) -> None:
        """Raises `DataDirectoryLocked`, `DataDirectoryUnusable`."""
        self._lock = DirectoryLock(RealFs(directory))

    def close(self) -> None:
        self._lock.release()


def _recorded(method: str, directory: Path, params: list[Any]) -> AbstractContextManager[None]:
    """Records what the node would record if it did this; reading is not an act."""
    command = next((command for command, name in ACTS.items() if name == method), None)
    if command is None:
        return nullcontext()
    return recorded_act(command, directory, partial(say, err=True), given=json.dumps(params))


def _fingerprint(path: Path) -> str:
    from cryptography import x509
    from cryptography.hazmat.primitives.serialization import Encoding

    try:
        certificate = x509.load_pem_x509_certificate(path.read_bytes())
    except (OSError, ValueError) as error:
        raise TokenRefused(f"{path} is not a certificate in PEM: {error}") from None
    return hashlib.sha256(certificate.public_bytes(Encoding.DER)).hexdigest()


def _line(entry: dict[str, Any]) -> str:
    expires = entry["expires"]
    parts = [
        f"{entry['name']:24} {entry['id']}  {','.join(entry['scopes'])}",
        "" if expires is None else _until(expires),
        f"{entry['requestsPerSecond']}/s" if entry["requestsPerSecond"] else "",
        f"{entry['connections']} connections" if entry["connections"] else "",
        "by certificate" if entry["certificateSha256"] else "",
        f"{entry['connected']} connected" if entry.get("connected") else "",
    ]
    return "  ".join(part for part in parts if part)


def _until(expires: int) -> str:
    at = datetime.datetime.fromtimestamp(expires, datetime.UTC)
    return f"{'expired' if expires <= time.time() else 'until'} {at:%Y-%m-%d %H:%M} UTC"
