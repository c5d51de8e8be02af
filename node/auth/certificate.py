"""The node's certificate as the daemon gets it: known to be good, or checked and made in a process of its own.

What a certificate must be is decided by `node.auth.tls`, with a library that takes 10 MiB and that nothing else of a
serving node needs. What it has found is remembered beside the certificate: for which content of the files, by which
source, and how long it holds. As long as nothing of that has changed, no process is started.
"""

from __future__ import annotations

import datetime
import hashlib
import logging
import subprocess
from pathlib import Path
from typing import Any, Final, NamedTuple

import msgspec
import structlog

from chain.errors import ZvmdError
from node.auth.errors import UnusableCertificate
from node.auth.private import read_private, write_private
from node.ops import worker
from storage.errors import DataDirectoryUnusable, StorageFull, StoragePanic

log = structlog.get_logger(__name__)

AUTHORITY_FILE: Final = "authority.pem"
AUTHORITY_KEY_FILE: Final = "authority-key.pem"
CERTIFICATE_FILE: Final = "certificate.pem"
KEY_FILE: Final = "key.pem"
CHECKED_FILE: Final = "checked.json"
MODULE: Final = "node.auth.certificate_process"
SECONDS_MAX: Final = 60.0
CLIENT_FILE: Final = "client.pem"
"""Certificate and key by which programs of this machine that may read the data directory are clients."""
FILES: Final = {AUTHORITY_FILE: False, AUTHORITY_KEY_FILE: True, CERTIFICATE_FILE: False, KEY_FILE: True}
"""Whose content decides, and whether it is secret."""
_RULES: Final = Path(__file__).with_name("tls.py")
_ERRORS: Final[dict[str, type[ZvmdError]]] = {
    kind.code: kind for kind in (UnusableCertificate, DataDirectoryUnusable, StorageFull, StoragePanic)
}


class Wanted(msgspec.Struct, frozen=True):
    """What a node needs of its certificates besides what each has."""

    names: tuple[str, ...] = ()
    """DNS names of the node beside `node.auth.tls.NAMES`."""
    addresses: tuple[str, ...] = ()
    """IP addresses beside `node.auth.tls.ADDRESSES`."""
    client: bool = False
    """Whether there is a certificate for clients on this machine."""


NOTHING_MORE: Final = Wanted()


class TlsFiles(NamedTuple):
    """Where certificate and key are, what clients trust, and until when they are good."""

    certificate: Path
    key: Path
    authority: Path
    not_after: datetime.datetime
    client: Path | None = None
    """Certificate and key for clients on this machine, if that is wanted."""


class Checked(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What was found. Times are Unix seconds."""

    digest: str
    """`digest_of` the files, of what was wanted, and of the rules they were checked by."""
    since: float
    until: float
    """Then the certificate, or its authority's, is to be renewed."""
    not_after: float


class CertificateAnswer(msgspec.Struct, frozen=True):
    """What the process found that checks, or its error as code and message; and what there is to log."""

    checked: Checked | None = None
    error: tuple[str, str] = ("", "")
    logged: tuple[tuple[str, str, dict[str, Any]], ...] = ()
    """Level, event and values."""


def usable_certificate(directory: Path, now: datetime.datetime, wanted: Wanted = NOTHING_MORE) -> TlsFiles:
    """The certificate in ``directory``; files that are missing or unusable are made again.

    Raises `UnusableCertificate` for a damaged authority key, and if no process can be started to check or make files;
    `DataDirectoryUnusable`, `StorageFull`, `StoragePanic`.
    """
    checked = _remembered(directory, now.timestamp(), wanted) or _checked_now(directory, now, wanted)
    return files_in(directory, datetime.datetime.fromtimestamp(checked.not_after, datetime.UTC), wanted)


def files_in(directory: Path, not_after: datetime.datetime, wanted: Wanted) -> TlsFiles:
    """Where the files of a directory are."""
    client = directory / CLIENT_FILE if wanted.client else None
    return TlsFiles(
        directory / CERTIFICATE_FILE, directory / KEY_FILE, directory / AUTHORITY_FILE, not_after, client
    )


def digest_of(directory: Path, wanted: Wanted) -> str:
    """Digest of the rules and the files. Raises `OSError` for a file that is missing, or a key others can read."""
    digest = hashlib.blake2b(_RULES.read_bytes() + msgspec.json.encode(wanted), digest_size=32)
    for name, secret in (FILES | ({CLIENT_FILE: True} if wanted.client else {})).items():
        content = read_private(directory / name, secret=secret)
        if content is None:
            raise FileNotFoundError(name)
        digest.update(len(content).to_bytes(8, "big") + content)
    return digest.hexdigest()


def remember(directory: Path, checked: Checked) -> None:
    """Have the next start trust what was found. Raises as `write_private`."""
    write_private(directory / CHECKED_FILE, msgspec.json.encode(checked))


def _remembered(directory: Path, now: float, wanted: Wanted) -> Checked | None:
    try:
        content = read_private(directory / CHECKED_FILE, secret=False)
        checked = msgspec.json.decode(content or b"", type=Checked)
        holds = checked.since <= now < checked.until and checked.digest == digest_of(directory, wanted)
    except (OSError, msgspec.MsgspecError):
        return None
    return checked if holds else None


def _checked_now(directory: Path, now: datetime.datetime, wanted: Wanted) -> Checked:
    told = msgspec.json.encode(wanted).decode()
    command = worker.command(MODULE, str(directory.absolute()), now.isoformat(), told)
    try:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            env=worker.environment(),
            timeout=SECONDS_MAX,
            start_new_session=True,  # Ctrl-C is the daemon's
            check=False,
        )
        answer = msgspec.json.decode(done.stdout, type=CertificateAnswer)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise UnusableCertificate(f"the process that checks it: {error}") from None
    except msgspec.MsgspecError:
        said = done.stderr.decode(errors="replace").strip().rpartition("\n")[2]
        raise UnusableCertificate(f"the process that checks it ended with status {done.returncode}: {said}") from None
    for level, event, values in answer.logged:
        log.log(logging.getLevelNamesMapping()[level.upper()], event, **values)
    if answer.checked is None:
        code, message = answer.error
        raise _ERRORS.get(code, UnusableCertificate)(message)
    return answer.checked
