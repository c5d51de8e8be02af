"""``zvmd call``: ask a contract without changing anything."""

from __future__ import annotations

import click

from node.cli.link import link_options, open_link
from node.cli.output import show_value
from zvmd.abi import parse_amount, parse_signature


@click.command()
@click.argument("to")
@click.argument("signature")
@click.argument("args", nargs=-1)
@click.option("--from", "sender", metavar="ADDRESS", help="Caller (default: the zero address).")
@click.option("--value", default="0", help="Amount to send along.")
@click.option("--block", help="Block number, hash or tag (default: the newest).")
@link_options
def call(
    to: str,
    signature: str,
    args: tuple[str, ...],
    sender: str | None,
    value: str,
    block: str | None,
    http: bool,
    url: str | None,
    data_dir: str | None,
) -> None:
    """Call SIGNATURE of the contract TO, like 'balanceOf(address)(uint256)', and print the decoded result.

    Without output types the raw result is printed. SIGNATURE may also be 0x-calldata.
    """
    if signature.startswith("0x"):
        parsed, data = None, bytes.fromhex(signature[2:])
    else:
        parsed = parse_signature(signature)
        data = parsed.encode(list(args))
    number = hex(int(block)) if block is not None and block.isdigit() else block
    with open_link(http, url, data_dir) as link:
        output = link.call_raw(to, data, sender=sender, value=parse_amount(value), block=number)
    if parsed is None or not parsed.outputs:
        click.echo("0x" + output.hex())
        return
    for item in parsed.decode(output):
        click.echo(show_value(item))
