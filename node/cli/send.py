"""``zvmd send``: send a transaction, signed by a dev account of the node or with a given key."""

from __future__ import annotations

import click

from node.cli.call import calldata
from node.cli.given_abi import abi_option, read_abi
from node.cli.link import account_options, link_options, open_link, send_transaction
from node.cli.output import failed, print_receipt
from node.cli.reasons import explained, failure_of, warn_without_code
from zvmd.abi import parse_amount


@click.command()
@click.argument("to")
@click.argument("signature", required=False)
@click.argument("args", nargs=-1)
@account_options
@abi_option
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
    abi: str | None,
    http: bool,
    url: str | None,
    data_dir: str | None,
) -> None:
    """Send a transaction to TO and wait for its block.

    SIGNATURE is called if given, like 'transfer(address,uint256)' with ARGS. It may also be 0x-calldata,
    or with --abi just a name.
    """
    given = read_abi(abi)
    data = calldata(signature, args, given)[1] if signature is not None else b""
    with open_link(http, url, data_dir) as link:
        with explained(link, given.abis, to):
            receipt = send_transaction(
                link, to, data, sender=sender, private_key=private_key, value=parse_amount(value), gas=gas
            )
        if data and not receipt["logs"]:
            warn_without_code(link, to)
        failure = failure_of(link, given.abis, receipt) if failed(receipt) else None
    print_receipt(receipt, as_json, failure)
