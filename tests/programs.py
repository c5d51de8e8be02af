"""Other people's programs the tests and benchmarks use when they are there: cast, anvil, ethers."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from tests.paths import REPO

CLIENT_TOOLS = Path(os.environ.get("ZVMD_CLIENT_TOOLS", REPO / ".cache" / "clients"))
"""Where `make test` installs them."""
NODE_MODULES = CLIENT_TOOLS / "node_modules"


def find_program(name: str) -> str | None:
    """``$CAST`` or ``$ANVIL``, else the program on PATH, else where `make test` put it, else ``None``."""
    return (
        os.environ.get(name.upper()) or shutil.which(name) or shutil.which(name, path=NODE_MODULES / ".bin")
    )

ORACLES = Path(os.environ.get("ZVMD_ORACLES", REPO / ".cache" / "oracles"))
"""Other people's implementations in a virtual environment of their own, where `make oracles` puts it."""


def find_oracle(name: str) -> str | None:
    """A command of the oracles' environment, else ``None``."""
    return shutil.which(name, path=ORACLES / "bin")
