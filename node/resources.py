"""Finds migrations, config and systemd files: inside a wheel, or beside the package in a checkout."""

from __future__ import annotations

from pathlib import Path

from node.ops.errors import ResourceMissing

_PACKAGE = Path(__file__).resolve().parent


def path(name: str) -> Path:
    """The folder or file ``name``, for example ``"migrations"`` or ``"config/zvmd.toml"``.

    A wheel carries the folders as ``node/_data``; a checkout or an editable install has them beside
    ``node/``. Raises ``ResourceMissing`` when neither has it.
    """
    for root in (_PACKAGE / "_data", _PACKAGE.parent):
        candidate = root / name
        if candidate.exists():
            return candidate
    raise ResourceMissing(f"the installation lacks {name!r} (looked beside and inside {_PACKAGE})")


def text(name: str) -> str:
    """The UTF-8 text of a data file."""
    return path(name).read_text(encoding="utf-8")
