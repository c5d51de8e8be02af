"""Gas prices, now and in earlier blocks."""

from __future__ import annotations

from typing import Any

from chain.blocks import Header
from chain.receipts import Receipt
from chain.transactions import Transaction, effective_gas_price
from node.api.errors import InvalidParams
from node.api.types import PRIORITY_FEE_WEI
from node.rpc.context import Context
from node.rpc.format import quantity
from node.rpc.params import BlockRef, JsonList, LooseInt
from node.rpc.registry import method
from vm.interruption import checkpoint

PERCENTILES_MAX = 100


@method("eth_maxPriorityFeePerGas", inline=True)
def max_priority_fee_per_gas(_context: Context) -> str:
    """A priority fee with which a transaction is mined."""
    return quantity(PRIORITY_FEE_WEI)


@method("eth_gasPrice", inline=True)
def gas_price(context: Context) -> str:
    """The next block's base fee plus a priority fee."""
    return quantity(context.backend.next_base_fee() + PRIORITY_FEE_WEI)


@method("eth_blobBaseFee", inline=True)
def blob_base_fee(context: Context) -> str:
    """Price of blob gas in the next block."""
    return quantity(context.backend.blob_base_fee(context.backend.head().number + 1))


@method("eth_feeHistory")
def fee_history(
    context: Context,
    block_count: LooseInt,
    newest_block: BlockRef,
    reward_percentiles: JsonList | None = None,
) -> dict[str, Any]:
    """Fees of a range of blocks, and the base fee of the block after it."""
    percentiles = _percentiles(reward_percentiles)
    at = context.need_block(newest_block)
    pending = None if isinstance(at, int) else at
    newest = at if isinstance(at, int) else at.number
    count = min(block_count, context.limits.fee_history_blocks_max, newest + 1)
    if count == 0:
        names = ("baseFeePerGas", "gasUsedRatio", "baseFeePerBlobGas", "blobGasUsedRatio")
        return {"oldestBlock": "0x0"} | {name: [] for name in names}
    oldest = newest - count + 1
    backend = context.backend
    sealed = range(oldest, newest + 1 if pending is None else newest)
    headers = [*map(backend.header, sealed), *([] if pending is None else [pending.header])]
    found = [header for header in headers if header is not None]
    if pending is None:
        after = backend.header(newest + 1)
        next_fee = (after.base_fee or 0) if after is not None else backend.next_base_fee()
        blob_fees = [backend.blob_base_fee(number) for number in range(oldest, newest + 2)]
    else:
        next_fee, next_blob_fee = backend.fees_after(pending.header)
        blob_fees = [*(backend.blob_base_fee(number) for number in range(oldest, newest + 1)), next_blob_fee]
    blob_max = [backend.config.blobs_at(header.timestamp).max << 17 for header in found]
    result: dict[str, Any] = {
        "oldestBlock": quantity(oldest),
        "baseFeePerGas": [quantity(header.base_fee or 0) for header in found] + [quantity(next_fee)],
        "gasUsedRatio": [header.gas_used / header.gas_limit if header.gas_limit else 0.0 for header in found],
        "baseFeePerBlobGas": [quantity(fee) for fee in blob_fees],
        "blobGasUsedRatio": [
            (header.blob_gas_used or 0) / limit for header, limit in zip(found, blob_max, strict=True)
        ],
    }
    if percentiles:
        rewards = result["reward"] = []
        for header in found:
            checkpoint()
            if pending is not None and header is pending.header:
                rewards.append(_rewards(header, pending.transactions, pending.receipts, percentiles))
            else:
                rewards.append(_rewards(header, *_transactions(context, header.number), percentiles))
    return result


def _percentiles(values: JsonList | None) -> list[float]:
    result: list[float] = []
    for value in values or []:
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value <= 100:
            raise InvalidParams("percentiles are numbers from 0 to 100")
        if result and value <= result[-1]:
            raise InvalidParams("percentiles must ascend, each once")
        result.append(value)
    if len(result) > PERCENTILES_MAX:
        raise InvalidParams(f"more than {PERCENTILES_MAX} percentiles")
    return result


def _transactions(context: Context, number: int) -> tuple[tuple[Transaction, ...], tuple[Receipt, ...]]:
    block, receipts = context.backend.block(number), context.backend.receipts(number)
    return (block.transactions, tuple(receipts)) if block is not None and receipts is not None else ((), ())


def _rewards(
    header: Header,
    transactions: tuple[Transaction, ...],
    receipts: tuple[Receipt, ...],
    percentiles: list[float],
) -> list[str]:
    """Tips at the percentiles, weighted by gas (geth's rule)."""
    base_fee = header.base_fee or 0
    tips = sorted(
        (effective_gas_price(tx, base_fee) - base_fee, receipt.gas_used)
        for tx, receipt in zip(transactions, receipts, strict=True)
    )
    if not tips:
        return ["0x0"] * len(percentiles)
    rewards, position, gas_seen = [], 0, tips[0][1]
    for percentile in percentiles:
        threshold = int(header.gas_used * percentile / 100)
        while gas_seen < threshold and position < len(tips) - 1:
            position += 1
            gas_seen += tips[position][1]
        rewards.append(quantity(tips[position][0]))
    return rewards
