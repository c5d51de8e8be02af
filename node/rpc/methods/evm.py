"""Control of block production, in the spellings of ganache, Hardhat and anvil."""

from __future__ import annotations

from node.api.errors import LimitExceeded
from node.rpc.context import Context
from node.rpc.format import quantity
from node.rpc.params import JsonObject, LooseInt, check_keys, loose_int
from node.rpc.registry import method


async def _mine(context: Context, count: int, interval: int) -> None:
    if count > context.limits.mine_blocks_max:
        raise LimitExceeded(f"{count} blocks at once; the limit is {context.limits.mine_blocks_max}")
    await context.backend.mine(count, interval)


@method("evm_mine")
async def evm_mine(context: Context, options: object = None) -> str:
    """Seal a block: with a timestamp, as a number, or several, as ``{timestamp, blocks}``."""
    fields = options if isinstance(options, dict) else {"timestamp": options}
    check_keys(fields, frozenset(("timestamp", "blocks")), "evm_mine")
    if fields.get("timestamp") is not None:
        await context.backend.cheat("set_next_timestamp", loose_int(fields["timestamp"]))
    await _mine(context, loose_int(fields.get("blocks") or 1), 0)
    return "0x0"


@method("anvil_mine", "hardhat_mine")
async def mine(context: Context, count: LooseInt | None = None, interval: LooseInt | None = None) -> None:
    """Seal blocks, ``interval`` seconds apart."""
    await _mine(context, 1 if count is None else count, interval or 0)


@method("evm_setAutomine", "anvil_setAutomine")
async def set_automine(context: Context, enabled: bool) -> bool:
    """Whether each transaction is sealed at once."""
    await context.backend.set_automine(enabled)
    return True


@method("anvil_getAutomine", "hardhat_getAutomine")
def get_automine(context: Context) -> bool:
    """Whether each transaction is sealed at once."""
    return context.backend.automine()


@method("evm_setIntervalMining")
async def set_interval_mining(context: Context, interval: LooseInt) -> bool:
    """Seal every so many milliseconds (Hardhat's unit), 0 stops."""
    await context.backend.set_interval_mining(interval / 1000)
    return True


@method("anvil_setIntervalMining")
async def set_interval_mining_seconds(context: Context, interval: LooseInt) -> bool:
    """Seal every so many seconds (anvil's unit), 0 stops."""
    await context.backend.set_interval_mining(float(interval))
    return True


@method("anvil_nodeInfo")
def node_info(context: Context) -> JsonObject:
    """A summary in anvil's form."""
    head = context.backend.head()
    fork = context.backend.config.fork_at(head.number, head.timestamp)
    return JsonObject(
        {
            "currentBlockNumber": quantity(head.number),
            "currentBlockTimestamp": head.timestamp,
            "currentBlockHash": "0x" + head.hash.hex(),
            "hardFork": fork.name.title().replace("_", ""),
            "transactionOrder": "fifo",
            "environment": {
                "baseFee": quantity(head.base_fee or 0),
                "chainId": context.backend.config.chain_id,
                "gasLimit": quantity(head.gas_limit),
                "gasPrice": quantity(context.backend.next_base_fee()),
            },
            "forkConfig": {"forkUrl": None, "forkBlockNumber": None, "forkRetryBackoff": None},
        }
    )
