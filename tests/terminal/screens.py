"""Screens as text files: what a terminal of a fixed size shows, compared with what it showed when the file was made.

``ZVMD_UPDATE_SCREENS=1`` writes the files anew; their difference is then read like any other.
"""

from __future__ import annotations

import io
import os
import re
from pathlib import Path
from typing import Any

from rich.console import Console
from textual.app import App

FOLDER = Path(__file__).with_name("screens")
SIZE = (120, 40)


def screen_of(app: App[Any]) -> str:
    """What is on the screen, a line a row, without colours."""
    width, height = app.size
    console = Console(width=width, height=height, file=io.StringIO(), record=True, color_system="truecolor")
    console.print(app.screen._compositor.render_update(full=True, screen_stack=app._background_screens))
    lines = console.export_text(styles=False).splitlines()
    return "\n".join(line.rstrip() for line in lines).rstrip() + "\n"


def check_screen(app: App[Any], name: str) -> None:
    """Compare the screen with the file ``name``, but for the number of the session."""
    shown = re.sub(r"session \d+", "session N", screen_of(app))
    file = FOLDER / f"{name}.txt"
    if os.environ.get("ZVMD_UPDATE_SCREENS"):
        file.write_text(shown, encoding="utf-8")
    assert shown == file.read_text(encoding="utf-8")
