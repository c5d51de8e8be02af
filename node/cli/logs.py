"""``zvmd logs``: the logs that contracts have emitted."""

from __future__ import annotations

from typing import Any

import click

from node.cli.link import link_options, open_link
from node.cli.output import print_json_line
from zvmd.abi import address_bytes, keccak, parse_signature
from zvmd.client import hex_of


@click.command()
@click.option("--address", "addresses", multiple=True, help="Emitting contract (repeat for several).")
@click.option("--event", help="Event signature like 'Transfer(address,address,uint256)'.")
@click.option("--topic", "topics", multiple=True, help="Topic by position, after the event's; '-' for any.")
@click.option("--from-block", default="earliest", show_default=True)
@click.option("--to-block", default="latest", show_default=True)
@link_options
def logs(
    addresses: tuple[str, ...],
    event: str | None,
    topics: tuple[str, ...],
    from_block: str,
    to_block: str,
    http: bool,
    url: str | None,
    data_dir: str | None,
) -> None:
    """Print logs, one JSON object per line."""
    wanted: list[Any] = [event_topic(event)] if event is not None else []
    wanted += [None if topic == "-" else "0x" + topic.removeprefix("0x").rjust(64, "0") for topic in topics]
    query: dict[str, Any] = {"fromBlock": block_name(from_block), "toBlock": block_name(to_block)}
    query |= {"address": [hex_of(address_bytes(item)) for item in addresses]} if addresses else {}
    query |= {"topics": wanted} if wanted else {}
    with open_link(http, url, data_dir) as link:
        for entry in link.rpc("eth_getLogs", query):
            print_json_line(entry)


def event_topic(signature: str) -> str:
    """Topic 0 of an event.

    >>> event_topic("Transfer(address indexed from, address indexed to, uint256)")[:10]
    '0xddf252ad'
    """
    return "0x" + keccak(parse_signature(signature.removeprefix("event ")).canonical.encode()).hex()


def block_name(text: str) -> str:
    """Decimal block numbers as quantities."""
    return hex(int(text)) if text.isdigit() else text
