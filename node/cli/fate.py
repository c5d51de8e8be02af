"""``zvmd fate``: what happened to a transaction that a node has accepted."""

from __future__ import annotations

from typing import Any

import click

from node.cli.link import link_options, open_link
from node.cli.output import print_json, say


@click.command()
@click.argument("transaction_hash", metavar="HASH")
@click.option("--json", "as_json", is_flag=True, help="Print the answer of zvmd_transactionFate.")
@link_options
def fate(transaction_hash: str, as_json: bool, http: bool, url: str | None, data_dir: str | None) -> None:
    """Show whether the transaction HASH is mined, waiting, replaced, dropped or reverted, and why."""
    with open_link(http, url, data_dir) as link:
        found: dict[str, Any] = link.rpc("zvmd_transactionFate", transaction_hash)
    if as_json:
        print_json(found)
        return
    text = str(found["status"])
    if found["status"] == "mined":
        text += f" in block {int(found['blockNumber'], 16)}"
    if found["reason"]:
        text += f": {found['reason']}"
    if found["replacedBy"]:
        text += f", {found['replacedBy']}"
    say(text)
