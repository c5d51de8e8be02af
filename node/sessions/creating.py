"""What a user asks to debug, as a program and where it starts from."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from chain.types import Hash32
from debugger.errors import InvalidProgram
from debugger.limits import PROGRAM_GAS
from debugger.program import Program, parse_program
from debugger.words import data_of, number_of
from node.api.pending_block import BlockAt
from node.sessions.origin import Ground, Origin

_OF_A_PAST_TRANSACTION = frozenset(("transaction", "name", "tags"))
_HASH_CHARACTERS = 66


class Wanted(NamedTuple):
    """A session to be made."""

    program: Program
    origin: Origin
    name: str
    tags: tuple[str, ...]


def program_of(block_named: Callable[[object], BlockAt], ground: Ground, document: dict[str, Any]) -> Wanted:
    """Read a user's object; ``block_named`` finds a block by its number, tag or hash in JSON.

    Raises `InvalidProgram`, `InvalidParams`, `UnknownBlock`, errors of the transaction."""
    fields = dict(document)
    name, tags = fields.pop("name", ""), fields.pop("tags", [])
    if not isinstance(name, str) or not isinstance(tags, list) or not all(isinstance(tag, str) for tag in tags):
        raise InvalidProgram("name is text, tags are a list of texts")
    transaction = fields.get("transaction")
    if isinstance(transaction, str) and len(transaction) == _HASH_CHARACTERS:
        if set(document) - _OF_A_PAST_TRANSACTION:
            raise InvalidProgram("a past transaction has its own caller, gas, fork and block")
        program, origin = ground.past_transaction(Hash32(data_of(transaction, "transaction", 32, 32)))
        return Wanted(program, origin, name, tuple(tags))
    if "gas" in fields:
        fields["gas"] = number_of(_number(fields["gas"]), "gas", PROGRAM_GAS)
    origin = Origin()
    block = fields.get("block")
    if not isinstance(block, dict) or {"blockHash", "blockNumber"} & set(block):
        chosen = fields.pop("block", None)
        if chosen is not None or "code" not in fields:
            if isinstance(chosen, int) and not isinstance(chosen, bool) and chosen >= 0:
                chosen = hex(chosen)
            at = block_named("latest" if chosen is None else chosen)
            fields, origin = ground.at_block(fields, at) if isinstance(at, int) else ground.at_pending(fields, at)
    return Wanted(parse_program(fields), origin, name, tuple(tags))


def _number(value: object) -> int | str:
    if isinstance(value, bool) or not isinstance(value, int | str):
        raise InvalidProgram("gas is a number")
    return value
