"""``zvmd call``: call a contract without sending a transaction."""

from __future__ import annotations

from collections.abc import Sequence

import click

from node.cli.given_abi import GivenAbi, abi_option, read_abi
from node.cli.link import link_options, open_link
from node.cli.logs import block_name
from node.cli.output import say
from node.cli.reasons import explained, warn_without_code
from zvmd.abi import Signature, bad_input, parse_amount, parse_signature, show_value


@click.command()
@click.argument("to")
@click.argument("signature")
@click.argument("args", nargs=-1)
@click.option("--from", "sender", metavar="ADDRESS", help="Caller (default: the zero address).")
@click.option("--value", default="0", help="Amount to send along.")
@click.option("--block", help="Block number, hash or tag (default: the newest).")
@abi_option
@link_options
def call(
    to: str,
    signature: str,
    args: tuple[str, ...],
    sender: str | None,
    value: str,
    block: str | None,
    abi: str | None,
    http: bool,
    url: str | None,
    data_dir: str | None,
) -> None:
    """Call SIGNATURE of the contract TO, like 'balanceOf(address)(uint256)', and print the decoded result.

    Without output types the raw result is printed. SIGNATURE may also be 0x-calldata, or with --abi just a name.
    """
    given = read_abi(abi)
    parsed, data = calldata(signature, args, given)
    number = None if block is None else block_name(block)
    with open_link(http, url, data_dir) as link:
        with explained(link, given.abis, to):
            output = link.call_raw(to, data, sender=sender, value=parse_amount(value), block=number)
        if not output:
            warn_without_code(link, to, number)
    if parsed is None or not parsed.outputs:
        say("0x" + output.hex())
        return
    for item in parsed.decode(output):
        say(show_value(item))


def calldata(text: str, args: Sequence[str], given: GivenAbi) -> tuple[Signature | None, bytes]:
    """The calldata for a signature or a name in the ABI with its arguments, or 0x-calldata as it is.

    Raises `ZvmdError`.
    """
    if not text.startswith("0x"):
        signature = parse_signature(text) if "(" in text else given.function(text, len(args))
        return signature, signature.encode(list(args))
    try:
        data = bytes.fromhex(text[2:])
    except ValueError:
        raise bad_input(f"{text[:80]!r} is not calldata", "give 0x and pairs of hex digits, or a signature") from None
    if args:
        raise bad_input("arguments behind 0x-calldata", "give a signature instead, or leave the arguments out")
    return None, data
