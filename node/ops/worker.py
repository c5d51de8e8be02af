"""How the node starts another process of its own, even where other packages have the same names as these."""

from __future__ import annotations

import os
import sys
from pathlib import Path

_ROOT = Path(__file__).resolve().parent.parent.parent


def command(module: str, *arguments: str) -> list[str]:
    """The command line that runs a module. ``-P`` keeps the current folder, which is not trusted, off the path."""
    return [sys.executable, "-P", "-m", module, *arguments]


def environment() -> dict[str, str]:
    """Environment of such a process: that of this one, with the folder of these packages first in ``PYTHONPATH``."""
    others = os.environ.get("PYTHONPATH")
    return os.environ | {"PYTHONPATH": os.pathsep.join([str(_ROOT), *([others] if others else [])])}
