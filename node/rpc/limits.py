"""Limits of the request side, each with its unit in the name."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class RpcLimits:
    """Limits that local tools do not reach and a small machine can bear."""

    body_size_max_bytes: int = 5 * 1024 * 1024
    batch_size_max: int = 1_000
    answer_size_max_bytes: int = 25_000_000
    json_depth_max: int = 64
    integer_digits_max: int = 80
    """Digits of a JSON number; quantities are hex strings."""
    log_blocks_max: int = 10_000
    log_results_max: int = 10_000
    call_gas_max: int = 50_000_000
    call_max_s: float = 5.0
    """Time for a request from when the first thread begins with it; the calls of a batch share it."""
    call_size_max_bytes: int = 128 * 1024 * 1024
    """Memory that the work for one request may take."""
    held_max_bytes: int = 256 * 1024 * 1024
    """Large bodies and answers in the whole process (`node.rpc.held`)."""
    json_values_max: int = 100_000
    """Brackets, commas, quotes and escapes each, of a body too large to be parsed on the event loop."""
    fee_history_blocks_max: int = 1024
    filters_max: int = 256
    filter_idle_max_s: float = 300.0
    subscriptions_max: int = 64
    """Per connection."""
    reads_queued_max: int = 65_536
    client_max_s: float = 60.0
    """Processor time that all waiting requests of a client are expected to take (`node.rpc.cost`)."""
    reader_threads: int = 6
    short_road: bool = True
    """Whether usual requests are decoded in one pass (`node.rpc.typed`), and short reads run on the event loop
    (`node.rpc.brief`).
    """
    mine_blocks_max: int = 1_000_000
    wait_mined_max_s: float = 30.0
