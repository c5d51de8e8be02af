"""Durations on the command line: 45s, 90m, 12h, 7d."""

from __future__ import annotations

from typing import Any

import click

UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}


class Duration(click.ParamType):  # type: ignore[type-arg,unused-ignore]
    """A number of seconds, or of the unit behind it."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """
        >>> Duration().convert("90m", None, None)
        5400
        """
        text = str(value)
        number, unit = (text[:-1], UNITS[text[-1]]) if text[-1:] in UNITS else (text, 1)
        if not number.isdecimal():
            self.fail(f"{text!r} is not a duration like 45s, 90m, 12h or 7d", param, ctx)
        return int(number) * unit
