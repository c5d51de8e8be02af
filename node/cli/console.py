"""``zvmd console``: what a transaction printed with console.log."""

from __future__ import annotations

import click

from node.cli.link import link_options, open_link
from node.cli.output import say


@click.command()
@click.argument("transaction")
@link_options
def console(transaction: str, http: bool, url: str | None, data_dir: str | None) -> None:
    """Print the lines that TRANSACTION, a hash, printed with console.log. The node executes it again to find them."""
    with open_link(http, url, data_dir) as link:
        for line in link.rpc("zvmd_consoleLog", transaction):
            say(line)
