"""``txpool_``: the durable transactions that wait for a block."""

from __future__ import annotations

from typing import Any

from chain.types import Address
from node.rpc.context import Context
from node.rpc.format import data, quantity, transaction_object
from node.rpc.registry import method


def _split(context: Context) -> tuple[dict[str, dict[str, Any]], dict[str, dict[str, Any]]]:
    """Transactions by sender and nonce: those that can be mined now, and those after a nonce gap."""
    pending: dict[str, dict[str, Any]] = {}
    queued: dict[str, dict[str, Any]] = {}
    view = context.backend.view(context.backend.head().number)
    nexts: dict[Address, int] = {}
    for item in sorted(context.backend.pending_transactions(), key=lambda p: (p.sender, p.transaction.nonce)):
        tx, sender = item
        if sender not in nexts:
            account = view.account(sender)
            nexts[sender] = account.nonce if account else 0
        target = queued
        if tx.nonce <= nexts[sender]:
            target = pending
            nexts[sender] = tx.nonce + 1
        target.setdefault(data(sender), {})[str(tx.nonce)] = transaction_object(tx, sender)
    return pending, queued


@method("txpool_content")
def content(context: Context) -> dict[str, Any]:
    """Waiting transactions by sender and nonce."""
    pending, queued = _split(context)
    return {"pending": pending, "queued": queued}


@method("txpool_contentFrom")
def content_from(context: Context, address: Address) -> dict[str, Any]:
    """Waiting transactions of one sender by nonce."""
    pending, queued = _split(context)
    return {"pending": pending.get(data(address), {}), "queued": queued.get(data(address), {})}


@method("txpool_status")
def status(context: Context) -> dict[str, str]:
    """Numbers of pending and queued transactions."""
    pending, queued = _split(context)
    return {
        "pending": quantity(sum(map(len, pending.values()))),
        "queued": quantity(sum(map(len, queued.values()))),
    }


@method("txpool_inspect")
def inspect(context: Context) -> dict[str, Any]:
    """A line of text per waiting transaction."""
    pending, queued = _split(context)

    def line(tx: dict[str, Any]) -> str:
        to = tx["to"] or "contract creation"
        return f"{to}: {int(tx['value'], 16)} wei + {int(tx['gas'], 16)} gas x {int(tx['gasPrice'], 16)} wei"

    return {
        name: {sender: {nonce: line(tx) for nonce, tx in txs.items()} for sender, txs in group.items()}
        for name, group in (("pending", pending), ("queued", queued))
    }
