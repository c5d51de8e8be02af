"""``zvmd send``: a transaction, signed by the node's dev account or with a key."""

from __future__ import annotations

import click

from node.cli.call import calldata
from node.cli.link import account_options, link_options, open_link, send_transaction
from node.cli.output import print_receipt
from zvmd.abi import parse_amount


@click.command()
@click.argument("to")
@click.argument("signature", required=False)
@click.argument("args", nargs=-1)
@account_options
@link_options
def send(
    to: str,
    signature: str | None,
    args: tuple[str, ...],
    sender: str | None,
    private_key: str | None,
    value: str,
    gas: int | None,
    as_json: bool,
    http: bool,
    url: str | None,
    data_dir: str | None,
) -> None:
    """Send a transaction to TO and wait for its block.

    SIGNATURE is called if given, like 'transfer(address,uint256)' with ARGS. It may also be 0x-calldata.
    """
    data = calldata(signature, args)[1] if signature is not None else b""
    with open_link(http, url, data_dir) as link:
        receipt = send_transaction(
            link, to, data, sender=sender, private_key=private_key, value=parse_amount(value), gas=gas
        )
    print_receipt(receipt, as_json)
