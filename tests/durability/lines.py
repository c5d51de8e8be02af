"""The lines of the table: what each does, how often in the normal and in the full size."""

from __future__ import annotations

from typing import NamedTuple

from tests.durability import hurts, machines, processes
from tests.durability.results import Campaign


class Entry(NamedTuple):
    """One line."""

    campaign: Campaign
    normal: int
    full: int
    title: str


LINES: dict[str, Entry] = {
    "node-crashes": Entry(
        machines.node_crashes, 10_000, 200_000,
        "crash states of whole nodes, log, state, index and sessions: 12 workloads, every call",
    ),
    "sequences": Entry(
        machines.node_sequences, 60, 16_275,
        "crash states of whole nodes after sequences of up to 3 operations of a node",
    ),
    "prune-crashes": Entry(
        machines.prune_crashes, 300, 20_000, "crash states of whole nodes, every call of a prune of their log"
    ),
    "recovery-crashes": Entry(
        machines.recovery_crashes, 5_000, 100_000,
        "crash states of whole nodes whose recovery crashed, to depth 3",
    ),
    "log-crashes": Entry(
        machines.log_crashes, 8_000, 200_000, "crash states of the log alone, recovered, written to, crashed again"
    ),
    "faults": Entry(machines.faults, 120, 20_000, "failing calls of a whole node's disk, once or until repaired"),
    "failing-syncs": Entry(machines.failing_syncs, 48, 2_000, "failing syncs over a cache that lies"),
    "daemons": Entry(
        processes.daemons, 100, 5_000,
        "kill -9 of whole daemons, 4 clients on JSON-RPC and QUIC and one on debug sessions",
    ),
    "kills": Entry(processes.kills, 120, 5_000, "kill -9 of the engine's process over real files"),
    "places": Entry(processes.places, 142, 1_500, "kill -9 at named places of the sources"),
    "stops": Entry(processes.stops, 12, 1_000, "SIGTERM of whole daemons under load"),
    "removals": Entry(
        processes.removals, 20, 1_000,
        "files and folders of a loaded daemon removed, renamed, replaced, made read-only: no answer lost",
    ),
    "second-nodes": Entry(
        processes.second_nodes, 40, 1_000,
        "second daemons and other programs on a directory in use: refused with 75, nothing harmed",
    ),
    "bits": Entry(hurts.bits, 131_072, 200_000, "bits flipped in a log"),
    "bytes": Entry(hurts.changed_bytes, 50_000, 100_000, "bytes of a log changed to 00, FF and one more"),
    "cuts": Entry(hurts.cuts, 32_768, 40_000, "lengths at which a log was cut"),
    "mixes": Entry(hurts.mixes, 1_000, 10_000, "logs cut and grown again by zeros, garbage and old bytes"),
    "segments": Entry(hurts.segments, 50, 2_000, "segments deleted, doubled, exchanged, renamed, of other chains"),
    "state-damage": Entry(hurts.state_damage, 60, 20_000, "damaged state stores"),
    "index-damage": Entry(hurts.index_damage, 60, 5_000, "damaged SQLite files"),
    "migrations": Entry(hurts.migrations, 40, 1_000, "kill -9 at statements of a schema upgrade"),
    "full-disks": Entry(hurts.full_disks, 5, 200, "a disk really filled under load and freed"),
    "clocks": Entry(hurts.clocks, 20, 500, "seeds of a clock that jumps by up to ten years, over restarts"),
    "resends": Entry(hurts.resends, 1_000, 20_000, "transactions sent again after their answer was lost"),
    "own-reads": Entry(hurts.own_reads, 124, 1_000, "own writes read back over the other transport"),
    "golden": Entry(hurts.golden_kills, 20, 1_000, "first starts over golden directories, killed at places"),
    "starts": Entry(
        hurts.starts_over_damage, 40, 1_000, "starts over each file they read, damaged in each way, and over several"
    ),
    "backups": Entry(hurts.backups, 20, 200, "backups taken under load and restored"),
}  # fmt: skip

ON_STORES = (
    "daemons", "kills", "places", "stops", "removals", "second-nodes", "state-damage", "full-disks", "starts",
    "backups",
)  # fmt: skip
"""Lines over real state stores, which differ from engine to engine."""
TITLES = {name: entry.title for name, entry in LINES.items()} | {
    f"{name}@rocksdb": f"{LINES[name].title}; on RocksDB" for name in ON_STORES
}
TOTALS = (
    ("crash states of whole nodes", ("node-crashes", "sequences", "prune-crashes", "recovery-crashes")),
    ("of the log alone", ("log-crashes",)),
    ("`kill -9` of whole daemons", ("daemons",)),
    ("of the engine's process", ("kills", "places")),
)
