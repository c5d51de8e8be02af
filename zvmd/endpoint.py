"""Where the node is and how to prove who we are: URL, token and certificate.

A node on the same machine writes ``token``, ``tls/authority.pem`` and ``endpoints.json`` into its data
directory; so ``zvmd.connect()`` needs nothing. For another machine give ``url``, ``token`` and a copy of that
file.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from zvmd.errors import ConnectionFailed

PROJECT_DATA_DIR = ".zvmd"
"""What `make run` uses, in the working directory."""
DEFAULT_DATA_DIR = "~/.local/share/zvmd"
DEFAULT_QUIC = "quic://127.0.0.1:4433"
DEFAULT_HTTP = "http://127.0.0.1:8545"
ENDPOINTS_FILE = "endpoints.json"
TOKEN_VARIABLE = "ZVMD_TOKEN"  # noqa: S105 - a name
TOKEN_FILE = "token"  # noqa: S105 - a file name
CERTIFICATE_FILE = "tls/authority.pem"
CERTIFICATE_VARIABLE = "ZVMD_CERTIFICATE"
CLIENT_VARIABLE = "ZVMD_CLIENT_CERTIFICATE"
HTTP_CERTIFICATE, HTTP_CLIENT = "http_certificate", "http_client"
"""Names in ``endpoints.json`` of files in the data directory: the certificate that HTTP is served with if it is not of
the node's own authority, and one that clients of this machine show if one is required."""
FILE_BYTES_MAX = 64 * 1024
"""Largest size of the files above; a node writes no longer ones."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """All that is needed to connect over QUIC."""

    host: str
    port: int
    token: str
    certificate: Path


def data_directory(given: str | Path | None, environ: Mapping[str, str] = os.environ) -> Path:
    """The data directory: argument, ``ZVMD_DATA_DIR``, ``ZVMD_NODE__DATA_DIR``, ``.zvmd`` here, or the user's."""
    here = PROJECT_DATA_DIR if Path(PROJECT_DATA_DIR, TOKEN_FILE).exists() else None
    chosen = given or environ.get("ZVMD_DATA_DIR") or environ.get("ZVMD_NODE__DATA_DIR") or here or DEFAULT_DATA_DIR
    try:
        return Path(chosen).expanduser()
    except RuntimeError:  # no home: nothing is found there, and the error names the path
        return Path(chosen)


def announced(directory: Path, name: str, default: str) -> str:
    """The URL the node wrote down for ``quic`` or ``http``."""
    try:
        urls = json.loads(_read(directory / ENDPOINTS_FILE))
    except (OSError, ValueError, RecursionError):
        return default
    return str(urls.get(name, default)) if isinstance(urls, dict) else default


def _read(path: Path) -> str:
    """A small file's text. Raises `OSError`, `ValueError`."""
    if path.exists() and not path.is_file():
        raise OSError(f"{path} is not a file")
    with path.open("rb") as file:
        return file.read(FILE_BYTES_MAX).decode()


def find_endpoint(
    url: str | None = None,
    token: str | None = None,
    certificate: str | Path | None = None,
    data_dir: str | Path | None = None,
    environ: Mapping[str, str] = os.environ,
) -> Endpoint:
    """Complete what is given from the environment and the data directory. Raises `ConnectionFailed`."""
    directory = data_directory(data_dir, environ)
    target = url or environ.get("ZVMD_URL") or announced(directory, "quic", DEFAULT_QUIC)
    try:
        parts = urlsplit(target)
        port = parts.port or 4433
    except ValueError:
        port = 0
    if not port or parts.scheme != "quic" or not parts.hostname:
        raise ConnectionFailed(
            f"{target!r} is not a QUIC address", code="client.url", hint="like quic://127.0.0.1:4433"
        )
    secret = token or environ.get(TOKEN_VARIABLE)
    if secret is None:
        try:
            secret = _read(directory / TOKEN_FILE).strip()
        except (OSError, ValueError) as error:
            raise ConnectionFailed(
                f"no node has run in {directory}: its token cannot be read ({error})",
                code="client.token",
                hint="name the node's directory (--data-dir, ZVMD_DATA_DIR), or ask over HTTP "
                "(--url http://HOST:PORT); zvmd start --dev starts a node",
            ) from None
    path = Path(certificate or environ.get(CERTIFICATE_VARIABLE) or directory / CERTIFICATE_FILE)
    if not path.is_file():
        hint = "is the node running with this --data-dir? else set ZVMD_CERTIFICATE"
        raise ConnectionFailed(f"no certificate at {path}", code="client.certificate", hint=hint)
    return Endpoint(parts.hostname, port, secret, path)
