"""Finds migrations, config and systemd files, which are beside the packages in a checkout and in a wheel."""

from __future__ import annotations

from pathlib import Path

from node.ops.errors import ResourceMissing

_ROOT = Path(__file__).resolve().parent.parent


def path(name: str) -> Path:
    """The folder or file ``name``, for example ``"migrations"`` or ``"config/zvmd.toml"``.

    Raises ``ResourceMissing`` when the installation does not have it.
    """
    found = _ROOT / name
    if not found.exists():
        raise ResourceMissing(f"the installation lacks {name!r} (looked in {_ROOT})")
    return found


def text(name: str) -> str:
    """The UTF-8 text of a data file."""
    return path(name).read_text(encoding="utf-8")
