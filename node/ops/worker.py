"""How a process of ours starts another one: a module of these packages, whatever else is called like them."""

from __future__ import annotations

import os
import sys
from pathlib import Path

_ROOT = Path(__file__).resolve().parent.parent.parent


def command(module: str, *arguments: str) -> list[str]:
    """The command line that runs a module. ``-P`` keeps the current folder, where anything may lie, off the path."""
    return [sys.executable, "-P", "-m", module, *arguments]


def environment() -> dict[str, str]:
    """The variables of such a process: ours, and the folder of these packages as the first to import from."""
    others = os.environ.get("PYTHONPATH")
    return os.environ | {"PYTHONPATH": os.pathsep.join([str(_ROOT), *([others] if others else [])])}
