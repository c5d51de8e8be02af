"""``zvmd_``: what only this node has."""

from __future__ import annotations

from typing import Any

from node.rpc.context import Context
from node.rpc.registry import method


@method("zvmd_status")
def status(context: Context) -> dict[str, Any]:
    """Positions of the log, checkpoint and index, counters and jobs."""
    return context.backend.status()
