"""Screens as text files: what a terminal of a fixed size shows, compared with what it showed when the file was made.

``ZVMD_UPDATE_SCREENS=1`` writes the files anew; their difference is then read like any other.
"""

from __future__ import annotations

import difflib
import io
import os
import re
from pathlib import Path
from typing import Any

from rich.console import Console
from textual.app import App
from textual.pilot import Pilot

FOLDER = Path(__file__).with_name("screens")
SIZE = (120, 40)
LOOK_S = 0.05
LOOKS = 100
"""How often a screen is looked at until it shows what it should: what scrolls, scrolls after it was drawn."""


_SESSION = re.compile(r"session (\d+) ")


def _without_number(title: re.Match[str]) -> str:
    return "session N " + "─" * (len(title[1]) - 1)


def screen_of(app: App[Any]) -> str:
    """What is on the screen, a line a row, without colours."""
    width, height = app.size
    console = Console(width=width, height=height, file=io.StringIO(), record=True, color_system="truecolor")
    console.print(app.screen._compositor.render_update(full=True, screen_stack=app._background_screens))
    lines = console.export_text(styles=False).splitlines()
    return "\n".join(line.rstrip() for line in lines).rstrip() + "\n"


async def check_screen(pilot: Pilot[Any], name: str) -> None:
    """Compare the screen with the file ``name``, but for the number of the session, once it has come to rest."""
    file, updates = FOLDER / f"{name}.txt", "ZVMD_UPDATE_SCREENS" in os.environ
    shown, before, looks = "", "", 0
    while shown != before or not looks or (looks < LOOKS and not updates and shown != file.read_text(encoding="utf-8")):
        await pilot.pause(LOOK_S)
        before, shown, looks = shown, _SESSION.sub(_without_number, screen_of(pilot.app)), looks + 1
    if updates:
        file.write_text(shown, encoding="utf-8")
    expected = file.read_text(encoding="utf-8")
    difference = difflib.unified_diff(expected.splitlines(), shown.splitlines(), "expected", "shown", n=0, lineterm="")
    assert shown == expected, "\n".join(difference)
