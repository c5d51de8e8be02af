"""What a read may cost, known before it runs: its most by method and parameters, and what others of its kind took.

All in seconds of processor time. The rates are for the slowest work that can be bought: what is usual takes a
hundredth, so the most says which reads are cheap for certain, and what was measured of the kind says what to expect.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable
from typing import Any, Final, NamedTuple

from node.rpc.limits import RpcLimits
from node.rpc.registry import known_method

CHEAP_S = 0.02
"""A read that cannot take longer is cheap. The first lane of the readers ends there."""
GAS_PER_S = 20_000_000
"""A call of a contract costs 100 gas, and the slowest ones are carried out by Python in five microseconds."""
TRACED = 25
"""How many times as long a traced call may take: a tracer in Python hears each opcode."""
ESTIMATE_RUNS = 16
ACCESS_LIST_RUNS = 8
DECODED_BYTES_PER_S = 6_000_000
"""JSON with as many values as there may be."""
LOG_BLOCKS_PER_S = 10_000
"""Blocks whose blooms are looked at, where the index has no rows of them."""
UNKNOWN_S = 0.001
"""What a read is expected to take as long as nothing is known of its kind."""
WEIGHT = 0.125
"""Share of the last read in the mean that is expected of the next one."""
KINDS_MAX = 4_096


class ReadPrice(NamedTuple):
    """What is known of a read before it runs."""

    kind: Hashable = None
    """Names reads of which one takes about as long as another; None for a part of a request, such as its decoding."""
    most_s: float = math.inf

    @property
    def is_cheap(self) -> bool:
        """Whether it can take no longer than `CHEAP_S`."""
        return self.most_s <= CHEAP_S


PART: Final = ReadPrice()
"""Decoding, encoding, and the node's own reads."""


class Order(NamedTuple):
    """What is known of a request, or of all requests of a batch together."""

    expected_s: float = 0.0
    price: ReadPrice = PART
    """The price of what has none of its own."""


NOTHING_KNOWN: Final = Order()


class KnownCosts:
    """What reads took, by kind. Under the lock of the readers, but for `expected`."""

    def __init__(self) -> None:
        self._known: dict[Hashable, float] = {}

    def expected(self, price: ReadPrice) -> float:
        """Seconds that a read is expected to take; 0 for a part of one. Any thread."""
        return 0.0 if price.kind is None else min(price.most_s, self._known.get(price.kind, UNKNOWN_S))

    def learn(self, price: ReadPrice, seconds: float) -> None:
        """A read took so long, or has been stopped after it."""
        if price.kind is None or price.is_cheap:
            return
        known = self._known.pop(price.kind, UNKNOWN_S)
        if len(self._known) >= KINDS_MAX:
            del self._known[next(iter(self._known))]
        self._known[price.kind] = known + WEIGHT * (seconds - known)


def kind_of(method: str, params: Any) -> Hashable:
    """Names reads of which one takes about as long as another: those of a method, for ``eth_call`` to one contract."""
    called = params[0] if isinstance(params, list) and params else None
    to = called.get("to") if isinstance(called, dict) else None
    return method, to if isinstance(to, str) else ""


def price_of(limits: RpcLimits, method: str, params: Any) -> ReadPrice:
    """The price of a request as decoded from JSON or MessagePack.

    A write has none: the writer takes one after another, and each has to be paid for.
    """
    known = known_method(method)
    if known is None or known.is_coroutine:
        if method == "zvmd_read" and isinstance(params, list) and len(params) > 2 and params[1] != method:
            return price_of(limits, str(params[1]), params[2])
        return PART
    most_s = 0.0 if method in CHEAP else limits.call_max_s
    bound = _BOUNDS.get(method)
    if bound is not None and isinstance(params, list) and params:
        most_s = min(most_s, bound(limits, params[0]))
    return ReadPrice(kind_of(method, params), most_s)


def price_of_decoding(size_bytes: int) -> ReadPrice:
    """The price of decoding a body: cheap up to some 120 kB, and then no sign of what its client's reads take."""
    return ReadPrice(None, size_bytes / DECODED_BYTES_PER_S)


def price_of_gas(limits: RpcLimits, kind: Hashable, gas: int | None) -> ReadPrice:
    """The price of a call with so much gas; None for as much as a call may have."""
    return ReadPrice(kind, min(limits.call_max_s, (limits.call_gas_max if gas is None else gas) / GAS_PER_S))


def _number(value: Any) -> int | None:
    """A quantity in JSON; None for what is none, which includes the names of blocks."""
    try:
        return int(value, 16) if isinstance(value, str) else None
    except ValueError:
        return None


def _gas(factor: float) -> Callable[[RpcLimits, Any], float]:
    """A bound by the gas of a transaction object."""

    def bound(limits: RpcLimits, call: Any) -> float:
        if not isinstance(call, dict):
            return limits.call_max_s
        gas = _number(call.get("gas", call.get("gasLimit")))
        return factor * (limits.call_gas_max if gas is None else gas) / GAS_PER_S

    return bound


def _log_range(limits: RpcLimits, query: Any) -> float:
    if not isinstance(query, dict):
        return limits.call_max_s
    first, last = _number(query.get("fromBlock")), _number(query.get("toBlock"))
    if query.get("blockHash") is not None:
        return CHEAP_S
    return limits.call_max_s if first is None or last is None else max(1, last - first + 1) / LOG_BLOCKS_PER_S


_BOUNDS: Final[dict[str, Callable[[RpcLimits, Any], float]]] = {
    "eth_call": _gas(1),
    "eth_estimateGas": _gas(ESTIMATE_RUNS),
    "eth_createAccessList": _gas(ACCESS_LIST_RUNS * TRACED),
    "debug_traceCall": _gas(TRACED),
    "eth_getLogs": _log_range,
}
"""What the first parameter says of the most. Traces of what is mined may take all the time there is."""

CHEAP: Final = frozenset(
    (
        "eth_getBalance",
        "eth_getBlockTransactionCountByHash",
        "eth_getBlockTransactionCountByNumber",
        "eth_getCode",
        "eth_getHeaderByHash",
        "eth_getHeaderByNumber",
        "eth_getRawTransactionByHash",
        "eth_getStorageAt",
        "eth_getTransactionByBlockHashAndIndex",
        "eth_getTransactionByBlockNumberAndIndex",
        "eth_getTransactionByHash",
        "eth_getTransactionCount",
        "eth_getTransactionReceipt",
        "eth_getUncleByBlockHashAndIndex",
        "eth_getUncleByBlockNumberAndIndex",
        "eth_getUncleCountByBlockHash",
        "eth_getUncleCountByBlockNumber",
        "eth_newBlockFilter",
        "eth_newPendingTransactionFilter",
        "eth_sign",
        "personal_sign",
        "txpool_status",
        "zvmd_status",
    )
)
"""Methods that look up one thing."""
