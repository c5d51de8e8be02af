"""The ``zvmd`` command inside the test's process: one of its own would spend a second on imports."""

from __future__ import annotations

import io
import os
import subprocess
from contextlib import redirect_stderr, redirect_stdout
from unittest.mock import patch

from node.cli.main import main
from tests.daemon import clean_environment


def run_command(*arguments: str) -> subprocess.CompletedProcess[str]:
    """What the command would have printed and returned."""
    out, err, status = io.StringIO(), io.StringIO(), 0
    with (
        patch("sys.argv", ["zvmd", *arguments]),
        patch.dict(os.environ, clean_environment(), clear=True),
        redirect_stdout(out),
        redirect_stderr(err),
    ):
        try:
            main()
        except SystemExit as end:
            status = int(end.code or 0)
    return subprocess.CompletedProcess(arguments, status, out.getvalue(), err.getvalue())
