"""Checks keys of untrusted TOML before ``tomllib`` parses it, which takes quadratic time in a key's parts."""

from __future__ import annotations

import re
import tomllib
from typing import Any

from debugger.limits import TOML_KEY_PARTS

_TOKEN = re.compile(
    r"""(?P<long>\"{3}|'{3})|(?P<quote>["'])|(?P<comment>#)|(?P<dot>[ \t]*\.[ \t]*)|(?P<bare>[\w-]+)|(?P<other>.)""",
    re.DOTALL,
)


def check_keys(text: str) -> None:
    """Raise `ValueError` for a dotted key of more than `TOML_KEY_PARTS` parts, or a string without an end.

    The parser takes time and memory by the square of a key's parts, so this comes first. One pass: every character is
    looked at once by the pattern and once by the search for a string's end.
    """
    at, parts = 0, 1
    while token := _TOKEN.match(text, at):
        kind, at = token.lastgroup, token.end()
        if kind in ("long", "quote"):
            at = _end_of_string(text, at, token[0])
        elif kind == "comment":
            at = text.find("\n", at) + 1 or len(text)
        if kind == "dot":
            parts += 1
            if parts > TOML_KEY_PARTS:
                raise ValueError(f"a key of more than {TOML_KEY_PARTS} parts")
        elif kind in ("other", "comment"):
            parts = 1


def _end_of_string(text: str, at: int, quote: str) -> int:
    """Just behind the quote that ends a string; a backslash hides one in double quotes.

    Three quotes may have one or two of their kind right before them, which belong to the string.
    """
    while True:
        end = text.find(quote, at)
        if end < 0:
            raise ValueError("a string without an end")
        if quote[0] == "'" or not _is_escaped(text, at, end):
            end += len(quote)
            extra = text[end : end + 2] if len(quote) == 3 else ""
            return end + len(extra) - len(extra.lstrip(quote[0]))
        at = end + 1


def _is_escaped(text: str, start: int, at: int) -> bool:
    backslashes = len(text[start:at]) - len(text[start:at].rstrip("\\"))
    return backslashes % 2 == 1


def toml_of(text: str) -> dict[str, Any]:
    """The document. Raises `ValueError`, and `RecursionError` for deep nesting."""
    check_keys(text)
    return tomllib.loads(text)
