"""The rights that commands need on the sessions they name."""

from __future__ import annotations

from enum import Enum
from typing import Final

SHARE_PREFIX: Final = "zvs-"
"""Prefix of share tokens."""

SessionRef = int | str
"""A session's number, for the owner, or a share token."""


class Right(Enum):
    """The least right that a command needs."""

    WATCH = "watch"
    """The command reads: open to the owner and to holders of any token of the session."""
    DRIVE = "drive"
    """The command moves or changes the session: open to the owner and to holders of a token with the role drive."""
    OWN = "own"
    """Open to the owner only, who names a session by its number."""
