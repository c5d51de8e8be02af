"""``zvmd events``: new blocks or logs as they become durable, resumable after an interruption."""

from __future__ import annotations

import json
from contextlib import closing
from itertools import islice
from typing import Any

import click

from node.cli.link import QuicLink, is_http, link_options, open_link
from node.cli.logs import event_topic
from node.cli.output import say
from zvmd.abi import bad_input
from zvmd.client import hex_of
from zvmd.connection import Event
from zvmd.frames import HeadEvent, TransactionBody


@click.command()
@click.argument("kind", type=click.Choice(["logs", "heads", "transactions"]), default="logs")
@click.option("--address", "addresses", multiple=True, help="Emitting contract (repeat for several).")
@click.option("--event", help="Event signature like 'Transfer(address,address,uint256)'.")
@click.option("--resume", metavar="BLOCK:INDEX", help="Continue after this cursor (printed with every event).")
@click.option("--count", type=int, help="Stop after this many events.")
@link_options
def events(
    kind: str,
    addresses: tuple[str, ...],
    event: str | None,
    resume: str | None,
    count: int | None,
    http: bool,
    url: str | None,
    data_dir: str | None,
) -> None:
    """Follow KIND over QUIC and print one JSON object per line.

    Transactions are those that enter the pool, before they are in a block; they have no cursor.
    """
    if is_http(http, url):
        raise bad_input("event streams need QUIC", "leave --http and an http URL out, or use eth_subscribe on /ws")
    if kind == "transactions" and (addresses or event is not None or resume is not None):
        raise bad_input("transactions have no filter and no cursor", "leave --address, --event and --resume out")
    cursor = None
    if resume is not None:
        block, _, index = resume.partition(":")
        if not block.isdigit() or not index.isdigit():
            raise bad_input(f"{resume!r} is not a cursor", "give the cursor of an event, like 12:0")
        cursor = int(block), int(index)
    topics = [[bytes.fromhex(event_topic(event)[2:])]] if event is not None else []
    with open_link(http, url, data_dir) as link:
        assert isinstance(link, QuicLink)
        if kind == "transactions":
            with closing(link.client.pending_transactions()) as arrivals:
                for item in islice(arrivals, count):
                    say(transaction_line(item))
            return
        with closing(link.client.events(kind, addresses=addresses, topics=topics, cursor=cursor)) as stream:
            for seen in islice(stream, count):
                say(line(seen))


def transaction_line(transaction: TransactionBody) -> str:
    """A transaction of the pool as JSON, bytes as hex."""
    fields: dict[str, Any] = {name: getattr(transaction, name) for name in transaction.__struct_fields__}
    fields["value"] = int.from_bytes(transaction.value, "big")
    return json.dumps({name: hex_of(value) if isinstance(value, bytes) else value for name, value in fields.items()})


def line(event: Event) -> str:
    """An event as JSON, bytes as hex."""
    body = event.head if isinstance(event, HeadEvent) else event.log
    fields = {name: getattr(body, name) for name in body.__struct_fields__}
    plain: dict[str, Any] = {
        name: hex_of(value) if isinstance(value, bytes) else value for name, value in fields.items()
    }
    if "topics" in plain:
        plain["topics"] = [hex_of(topic) for topic in plain["topics"]]
    if "base_fee" in plain:
        plain["base_fee"] = int.from_bytes(fields["base_fee"], "big")
    return json.dumps({"cursor": f"{event.cursor[0]}:{event.cursor[1]}"} | plain)
