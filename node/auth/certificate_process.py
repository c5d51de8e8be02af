"""Checks the certificate, and makes what is missing: ``python -m node.auth.certificate_process DIRECTORY TIME WANTED``.

The answer (`node.auth.certificate.CertificateAnswer`) goes to standard output; what `node.auth.tls` logs is in it.
"""

from __future__ import annotations

import datetime
import sys
from collections.abc import MutableMapping
from pathlib import Path
from typing import Any, NoReturn

sys.modules["rich"] = None  # type: ignore[assignment]  # structlog would load it, for terminals: half of this start
# ruff: noqa: E402
import msgspec
import structlog

from chain.errors import ZvmdError
from node.auth.certificate import CertificateAnswer, Checked, Wanted, digest_of, remember
from node.auth.tls import load_or_create_certificate, span_of_use
from storage.errors import DataDirectoryUnusable, StorageFull

log = structlog.get_logger(__name__)


def answer_for(directory: Path, now: datetime.datetime, wanted: Wanted) -> CertificateAnswer:
    """What is found or made in a directory; it is remembered there."""
    logged: list[tuple[str, str, dict[str, Any]]] = []

    def gather(_: object, level: str, event: MutableMapping[str, Any]) -> NoReturn:
        logged.append((level, str(event.pop("event")), dict(event)))
        raise structlog.DropEvent

    structlog.configure(processors=[gather])
    try:
        files = load_or_create_certificate(directory, now, wanted)
        since, until = span_of_use(directory, wanted)
        end = files.not_after.timestamp()
        checked = Checked(digest_of(directory, wanted), since.timestamp(), until.timestamp(), end)
        _remember(directory, checked)
    except ZvmdError as error:
        return CertificateAnswer(error=(error.code, str(error)), logged=tuple(logged))
    return CertificateAnswer(checked, logged=tuple(logged))


def _remember(directory: Path, checked: Checked) -> None:
    """Without it every start checks again, so only a disk that failed is an error."""
    try:
        remember(directory, checked)
    except (DataDirectoryUnusable, StorageFull, OSError) as error:
        log.warning("the check of the certificate cannot be remembered", reason=str(error))


def main() -> None:
    """CertificateAnswer for the directory in the arguments."""
    wanted = msgspec.json.decode(sys.argv[3], type=Wanted)
    answer = answer_for(Path(sys.argv[1]), datetime.datetime.fromisoformat(sys.argv[2]), wanted)
    sys.stdout.buffer.write(msgspec.json.encode(answer))


if __name__ == "__main__":
    main()
