"""The ``zvmd`` command: the console script, and ``python -m zvmd``.

The node's own packages (``chain``, ``debugger``, ``node``, ``storage``, ``vm``) have names that other distributions use
too. A wheel installs them in ``zvmd/_root``, which is on nobody's import path, and this command puts that folder first
on its own path. So zvmd's processes import zvmd's packages, and other programs import what they have installed. See
docs/design/0023-import-names.md.
"""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

from zvmd.platforms import Platform, UnsupportedPlatform, check

_HERE = Path(__file__).resolve().parent


def packages_root() -> Path:
    """The folder that holds the node's packages: inside a wheel, or the checkout of an editable installation."""
    installed = _HERE / "_root"
    return installed if installed.is_dir() else _HERE.parent


def main() -> None:
    """Run the command line. It is imported by name: the SDK beside this file does not need the node.

    On a platform that it does not run on the command ends with an error before anything else of it is imported.
    """
    try:
        check(Platform.here())
    except UnsupportedPlatform as error:
        sys.stderr.write(f"error[{error.code}]: {error}\nhint: {error.hint}\n")
        sys.exit(error.exit_code)
    sys.path.insert(0, str(packages_root()))
    importlib.import_module("node.cli.main").main()


if __name__ == "__main__":
    main()
