"""The lines of the table: what each does, how often in the normal and in the full size."""

from __future__ import annotations

from typing import NamedTuple

from tests.durability import processes
from tests.durability.results import Campaign


class Entry(NamedTuple):
    """One line."""

    campaign: Campaign
    normal: int
    full: int
    title: str


LINES: dict[str, Entry] = {
    "daemons": Entry(
        processes.daemons, 40, 5_000,
        "kill -9 of whole daemons, 4 clients on JSON-RPC and QUIC and one on debug sessions (T4)",
    ),
    "kills": Entry(processes.kills, 120, 5_000, "kill -9 of the engine's process over real files (T4)"),
    "places": Entry(processes.places, 61, 1_220, "kill -9 at named places of the sources (T5)"),
    "stops": Entry(processes.stops, 8, 50, "SIGTERM of whole daemons under load (T16)"),
}  # fmt: skip

TOTALS = (
    ("crash states", ("log-crashes", "node-crashes", "sequences", "recovery-crashes")),
    ("`kill -9`", ("daemons", "kills", "places")),
)
