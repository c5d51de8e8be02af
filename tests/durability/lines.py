"""The lines of the table: what each does, how often in the normal and in the full size."""

from __future__ import annotations

from typing import NamedTuple

from tests.durability import machines, processes
from tests.durability.results import Campaign


class Entry(NamedTuple):
    """One line."""

    campaign: Campaign
    normal: int
    full: int
    title: str


LINES: dict[str, Entry] = {
    "node-crashes": Entry(
        machines.node_crashes, 1_500, 100_000,
        "crash states of whole nodes, log, state, index and sessions: 12 workloads, every call (T1)",
    ),
    "sequences": Entry(
        machines.node_sequences, 60, 6_174,
        "crash states of whole nodes after every sequence of up to 3 of 18 operations (T2)",
    ),
    "recovery-crashes": Entry(
        machines.recovery_crashes, 500, 20_000,
        "crash states of whole nodes whose recovery crashed, to depth 3 (T3)",
    ),
    "log-crashes": Entry(
        machines.log_crashes, 8_000, 200_000, "crash states of the log alone, recovered, written to, crashed again"
    ),
    "faults": Entry(machines.faults, 120, 20_000, "failing calls of a whole node's disk, once or for ever (T12)"),
    "failing-syncs": Entry(machines.failing_syncs, 48, 2_000, "failing syncs over a cache that lies (T13)"),
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
