"""`printable`: text of strangers as a terminal may show it. What chains and files say is printed through it."""

from __future__ import annotations

import unicodedata
from functools import lru_cache

KEPT = frozenset("\n\t")
"""Characters that text of several lines keeps."""


def printable(text: str, lines: bool = False) -> str:
    """The text with all spelled out that a terminal obeys, or that hides or reorders what is beside it.

    That is what Unicode calls control, format (bidirectional overrides, zero-width characters), surrogate, private or
    unassigned, and its separators of lines. ``lines`` keeps newlines and tabs: for text of several lines.

    >>> printable("revert \\x1b]0;title\\x07 \\u202eabc\\r\\n")
    'revert \\\\x1b]0;title\\\\x07 \\\\u202eabc\\\\r\\\\n'
    """
    if text.isprintable():
        return text
    kept = KEPT if lines else ()
    return "".join(c if c.isprintable() or c in kept else _spelled(c) for c in text)


@lru_cache(1024)
def _spelled(character: str) -> str:
    if unicodedata.category(character) == "Zs":
        return character
    return character.encode("unicode_escape").decode("ascii")
