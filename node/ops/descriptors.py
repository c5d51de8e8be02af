"""How many files and connections the process may have open at a time (``RLIMIT_NOFILE``, getrlimit(2))."""

from __future__ import annotations

import resource
from contextlib import suppress

WANTED = 16_384
"""All connections that the default limits allow, beside the files of the stores; as in the systemd unit."""


def raise_file_limit() -> None:
    """Use what the hard limit allows, up to `WANTED`: shells begin with 1,024."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = WANTED if hard == resource.RLIM_INFINITY else min(WANTED, hard)
    if soft != resource.RLIM_INFINITY and soft < most:
        with suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
