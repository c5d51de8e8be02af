"""What a command does with the session that it names, and so who may give it."""

from __future__ import annotations

from enum import Enum
from typing import Final

SHARE_PREFIX: Final = "zvs-"
"""What a share token begins with."""

SessionRef = int | str
"""A session's number, for the owner, or a share token."""


class Right(Enum):
    """The least right that a command needs."""

    WATCH = "watch"
    """It looks: the owner may give it, and holders of any of the session's tokens."""
    DRIVE = "drive"
    """It moves or changes the session: the owner, and holders of a token of the role drive."""
    OWN = "own"
    """The owner only, who names a session by its number."""
