"""The type of arguments that name a session: its number, or a share token."""

from __future__ import annotations

from typing import Any

import click


class _Session(click.ParamType):  # type: ignore[type-arg,unused-ignore]
    name = "session"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int | str:
        """A session's number, or a share token as it is."""
        text = str(value)
        if text.isdecimal():
            return int(text)
        if not text.startswith("zvs-"):
            self.fail(f"{text!r} is neither a session's number nor a share token", param, ctx)
        return text


SESSION = _Session()
