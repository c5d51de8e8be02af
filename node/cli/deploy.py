"""``zvmd deploy``: create a contract from bytecode or a compiler's JSON."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple

import click

from node.cli.link import account_options, link_options, open_link, send_transaction
from node.cli.output import print_receipt
from zvmd.abi import bad_input, constructor_types, encode_values, parse_amount, parse_signature


class Artifact(NamedTuple):
    """Creation code and the types of the constructor, if known."""

    code: bytes
    types: tuple[str, ...] | None


@click.command()
@click.argument("code_or_json")
@click.argument("args", nargs=-1)
@click.option("--abi-args", multiple=True, help="A constructor argument (repeat; same as ARGS).")
@click.option(
    "--constructor", help="Constructor signature if there is no ABI: 'constructor(string,uint256)'."
)
@account_options
@link_options
def deploy(
    code_or_json: str,
    args: tuple[str, ...],
    abi_args: tuple[str, ...],
    constructor: str | None,
    sender: str | None,
    private_key: str | None,
    value: str,
    gas: int | None,
    as_json: bool,
    http: bool,
    url: str | None,
    data_dir: str | None,
) -> None:
    """Deploy CODE_OR_JSON with constructor ARGS and print the new contract's address.

    CODE_OR_JSON is 0x-bytecode, a file of it, a JSON file with abi and bytecode (solc, Hardhat, Foundry), or
    FILE.json:NAME for a file with several contracts.
    """
    artifact = read_artifact(code_or_json)
    types = artifact.types if constructor is None else parse_signature(constructor).inputs
    values = [*args, *abi_args]
    if types is None:
        if values:
            raise bad_input("constructor arguments without an ABI", "add --constructor 'constructor(TYPES)'")
        types = ()
    data = artifact.code + encode_values(types, values)
    with open_link(http, url, data_dir) as link:
        receipt = send_transaction(
            link, None, data, sender=sender, private_key=private_key, value=parse_amount(value), gas=gas
        )
    print_receipt(receipt, as_json)


def read_artifact(text: str) -> Artifact:
    """Bytecode from an argument or file. Raises `ZvmdClientError`."""
    if text.startswith("0x"):
        return Artifact(_code(text), None)
    name, _, contract = text.partition(":")
    path = Path(name)
    try:
        content = path.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise bad_input(f"cannot read {name}: {error}", "give 0x-bytecode or a file") from None
    if not content.lstrip().startswith(("{", "[")):
        return Artifact(_code(content.strip()), None)
    try:
        entry = json.loads(content)
    except ValueError as error:
        raise bad_input(f"{name} is no JSON: {error}", "give a compiler's output") from None
    if contract:
        contracts = entry.get("contracts", entry)
        if contract not in contracts:
            known = ", ".join(sorted(contracts)[:20])
            raise bad_input(f"no contract {contract!r} in {name}", f"there are: {known}")
        entry = contracts[contract]
    return _entry(name, entry)


def _entry(name: str, entry: dict[str, Any]) -> Artifact:
    code = entry.get("bytecode") or entry.get("bin") or entry.get("evm", {}).get("bytecode")
    if isinstance(code, dict):
        code = code.get("object")
    if not isinstance(code, str) or not code:
        raise bad_input(f"no bytecode in {name}", "name the contract: FILE.json:NAME")
    abi = entry.get("abi")
    return Artifact(_code(code), None if abi is None else constructor_types(abi))


def _code(text: str) -> bytes:
    try:
        return bytes.fromhex(text.removeprefix("0x"))
    except ValueError:
        raise bad_input("the bytecode is not hex", "are there unlinked libraries in it?") from None
