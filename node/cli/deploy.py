"""``zvmd deploy``: create a contract from bytecode or a compiler's JSON."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple

import click

from node.cli.given_abi import abi_option, read_abi
from node.cli.link import Link, account_options, link_options, open_link, send_transaction
from node.cli.output import failed, print_receipt, say
from node.cli.reasons import explained, failure_of
from node.transcript.abis import Contract, contract_of
from node.transcript.artifacts import contract_name
from zvmd.abi import bad_input, constructor_types, encode_values, parse_amount, parse_signature
from zvmd.errors import ZvmdError


class Artifact(NamedTuple):
    """Creation code, and if known the constructor's types, the name and the ABI."""

    code: bytes
    types: tuple[str, ...] | None
    name: str = ""
    abi: list[dict[str, Any]] | None = None


@click.command()
@click.argument("code_or_json")
@click.argument("args", nargs=-1)
@click.option("--abi-args", multiple=True, help="A constructor argument (repeat; same as ARGS).")
@click.option(
    "--constructor", help="Constructor signature if there is no ABI: 'constructor(string,uint256)'."
)
@account_options
@abi_option
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
    abi: str | None,
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
    abis = read_abi(abi).abis
    if artifact.abi is not None:
        abis.add(_contract(artifact))
    with open_link(http, url, data_dir) as link:
        with explained(link, abis, None):
            receipt = send_transaction(
                link, None, data, sender=sender, private_key=private_key, value=parse_amount(value), gas=gas
            )
        failure = failure_of(link, abis, receipt) if failed(receipt) else None
        if artifact.abi is not None and failure is None:
            _remember(link, receipt["contractAddress"], artifact)
    print_receipt(receipt, as_json, failure)


def _contract(artifact: Artifact) -> Contract:
    try:
        return contract_of(artifact.name, artifact.abi)
    except ValueError as error:
        raise bad_input(f"the ABI of {artifact.name} cannot be used: {error}", "give a compiler's output") from None


def _remember(link: Link, address: str, artifact: Artifact) -> None:
    """Register the ABI with the node. The contract is deployed even if that fails."""
    try:
        link.rpc("zvmd_rememberAbi", address, artifact.name, artifact.abi)
    except ZvmdError as error:
        if error.code not in ("rpc.method", "rpc.error"):  # other nodes do not have the method
            say(f"warning: the node does not remember the ABI: {error.message}", err=True)


def read_artifact(text: str) -> Artifact:
    """Bytecode from an argument or file. Raises `ZvmdError`."""
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
        raise bad_input(f"{name} is not JSON: {error}", "give a compiler's output") from None
    if contract:
        contracts = entry.get("contracts", entry)
        if contract not in contracts:
            known = ", ".join(sorted(contracts)[:20])
            raise bad_input(f"no contract {contract!r} in {name}", f"there are: {known}")
        entry = contracts[contract]
    return _entry(name, contract.rpartition(":")[2] or contract_name(path, entry), entry)


def _entry(file: str, name: str, entry: dict[str, Any]) -> Artifact:
    code = entry.get("bytecode") or entry.get("bin") or entry.get("evm", {}).get("bytecode")
    if isinstance(code, dict):
        code = code.get("object")
    if not isinstance(code, str) or not code:
        raise bad_input(f"no bytecode in {file}", "name the contract: FILE.json:NAME")
    abi = entry.get("abi")
    if isinstance(abi, str):  # as `solc --combined-json` of old versions writes it
        abi = json.loads(abi)
    return Artifact(_code(code), None if abi is None else constructor_types(abi), name, abi)


def _code(text: str) -> bytes:
    try:
        return bytes.fromhex(text.removeprefix("0x"))
    except ValueError:
        raise bad_input("the bytecode is not hex", "link its libraries first: their placeholders are not hex") from None
