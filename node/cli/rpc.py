"""``zvmd rpc``: any JSON-RPC method by its name."""

from __future__ import annotations

import json
from typing import Any

import click

from node.cli.link import link_options, open_link
from node.cli.output import print_json, say
from node.cli.reasons import explained
from node.transcript.abis import Abis
from zvmd.abi import bad_input


@click.command(context_settings={"ignore_unknown_options": True})
@click.argument("method")
@click.argument("params", nargs=-1)
@link_options
def rpc(method: str, params: tuple[str, ...], http: bool, url: str | None, data_dir: str | None) -> None:
    """Call METHOD with PARAMS and print the result. A parameter that is not JSON is taken as a string."""
    with open_link(http, url, data_dir) as link, explained(link, Abis(), None):
        result = link.rpc(method, *map(parameter, params))
    if isinstance(result, str):
        say(result)
    else:
        print_json(result)


def parameter(text: str) -> Any:
    """
    >>> parameter("true"), parameter("0x1f"), parameter('{"to": null}'), parameter("latest")
    (True, '0x1f', {'to': None}, 'latest')
    """
    try:
        return json.loads(text)
    except ValueError as error:
        if text.startswith(("{", "[", '"')):
            raise bad_input(f"{text[:80]} is not JSON: {error}", "quote names and strings") from None
        return text
