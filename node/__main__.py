"""``python -m node``: the ``zvmd`` command without its console script."""

from __future__ import annotations

from node.cli.main import main

main()
