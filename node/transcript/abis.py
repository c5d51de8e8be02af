"""Calldata and revert data in words: by the ABI of the contract where it is known, else by selector."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping
from functools import cache, partial
from typing import Any, Final, NamedTuple

from chain.hashing import keccak256
from chain.reverts import decode_revert, unpack_revert
from node.transcript.signatures import ERRORS, FUNCTIONS
from zvmd.abi import decode_values, parse_signature, show_value, types_of_abi
from zvmd.errors import ZvmdError

CONTRACTS_MAX: Final = 10_000
"""Contracts whose ABI is held; later ones are refused."""
ITEMS_MAX: Final = 200_000
"""Functions and errors held of all contracts."""
DECODED_MAX_BYTES: Final = 4_096
"""Longer arguments are not decoded."""
ARRAYS_MAX: Final = 2
"""Arrays within arrays are decoded up to this depth: deeper ones can be a thousand times larger than their encoding."""
SHOWN_CHARACTERS: Final = 240
"""Of one call or reason; the rest is cut."""
RAW_BYTES: Final = 36
"""Of data that cannot be decoded: a selector and one word."""


class Item(NamedTuple):
    """A function or error."""

    name: str
    types: tuple[str, ...]


class Contract(NamedTuple):
    """What the ABI of a contract says, by selector."""

    name: str
    functions: Mapping[bytes, Item]
    errors: Mapping[bytes, Item]


def contract_of(name: str, abi: object) -> Contract:
    """A contract of a JSON ABI. Raises `ValueError` if it is not one."""
    if not isinstance(abi, list):
        raise ValueError("an ABI is a list")
    items: dict[str, dict[bytes, Item]] = {"function": {}, "error": {}}
    for entry in abi:
        try:
            kind = items.get(entry.get("type", "function"))
            if kind is not None:
                item = Item(str(entry["name"]), types_of_abi(entry.get("inputs", [])))
                kind[selector_of(item)] = item
        except (AttributeError, KeyError, TypeError, RecursionError) as error:
            raise ValueError(f"not an entry of an ABI: {type(error).__name__} {error}") from None
    return Contract(name, items["function"], items["error"])


def selector_of(item: Item) -> bytes:
    """The first four bytes of the hash of its signature."""
    return keccak256(f"{item.name}({','.join(item.types)})".encode())[:4]


class Abis:
    """The ABIs known to this process. Any thread may read and add."""

    def __init__(self, look_again: Callable[[Abis], None] = lambda _: None) -> None:
        """``look_again`` is called for a selector that is not known: it may add what it finds."""
        self.look = partial(look_again, self)
        self._by_code: dict[bytes, Contract] = {}
        self._functions: dict[bytes, Item] = {}
        self._errors: dict[bytes, Item] = {}
        self._lock = threading.Lock()

    def add(self, contract: Contract, code_hash: bytes | None = None) -> bool:
        """Know a contract, by the hash of its runtime code if that is given. False if there is no room."""
        with self._lock:
            if code_hash is not None:
                if code_hash not in self._by_code and len(self._by_code) >= CONTRACTS_MAX:
                    return False
                self._by_code[code_hash] = contract
            if len(self._functions) + len(self._errors) > ITEMS_MAX:
                return False
            for known, items in ((self._functions, contract.functions), (self._errors, contract.errors)):
                known.update(items)
        return True

    def call(self, data: bytes, code_hash: bytes | None = None) -> str:
        """A call in words: ``Counter.setNumber(5)``; the selector if that is all there is; empty without data."""
        if len(data) < 4:
            return "0x" + data.hex() if data else ""
        contract = None if code_hash is None else self._by_code.get(code_hash)
        selector = data[:4]
        if contract is not None and selector in contract.functions:
            return f"{contract.name}.{_shown(contract.functions[selector], data[4:])}"
        item = self._find(selector, self._functions, _builtin_functions())
        name = "" if contract is None else contract.name + "."
        if item is not None:
            return name + _shown(item, data[4:])
        return f"{name}0x{selector.hex()}" + (f" and {len(data) - 4} bytes" if len(data) > 4 else "")

    def revert(self, data: bytes, code_hash: bytes | None = None) -> str:
        """Revert data in words: the reason, the panic or the custom error."""
        if not data:
            return "reverted without a reason"
        reason = unpack_revert(data)
        if reason is not None:
            revert = decode_revert(data)
            assert revert is not None
            return _cut(show_value(reason) or 'Error("")') if revert.shown.startswith("Error") else revert.shown
        contract = None if code_hash is None else self._by_code.get(code_hash)
        item = contract.errors.get(data[:4]) if contract is not None else None
        item = item or self._find(data[:4], self._errors, _builtin_errors())
        if item is not None:
            return _shown(item, data[4:])
        raw = data[:RAW_BYTES].hex() + ("..." if len(data) > RAW_BYTES else "")
        return f"custom error 0x{raw}" if len(data) % 32 == 4 else f"0x{raw}"

    def name(self, code_hash: bytes) -> str:
        """The name of the contract with that runtime code; empty if it is not known."""
        found = self._by_code.get(code_hash)
        return "" if found is None else found.name

    def _find(self, selector: bytes, items: Mapping[bytes, Item], builtin: Mapping[bytes, Item]) -> Item | None:
        found = items.get(selector)
        if found is None:
            self.look()
            found = items.get(selector) or builtin.get(selector)
        return found


def _shown(item: Item, data: bytes) -> str:
    """``name(arguments)``; the types in place of arguments that cannot be decoded."""
    if len(data) <= DECODED_MAX_BYTES and all(kind.count("[") <= ARRAYS_MAX for kind in item.types):
        try:
            values = decode_values(item.types, data) if item.types else ()
        except ZvmdError:
            pass
        else:
            return _cut(f"{item.name}({', '.join(map(show_value, values))})")
    return _cut(f"{item.name}({','.join(item.types)}) and {len(data)} bytes")


def _cut(text: str) -> str:
    return text if len(text) <= SHOWN_CHARACTERS else text[:SHOWN_CHARACTERS] + "..."


def _table(signatures: Iterable[str]) -> dict[bytes, Item]:
    parsed = map(parse_signature, signatures)
    items = [Item(signature.name, signature.inputs) for signature in parsed]
    return {selector_of(item): item for item in items}


@cache
def _builtin_functions() -> dict[bytes, Item]:
    return _table(FUNCTIONS)


@cache
def _builtin_errors() -> dict[bytes, Item]:
    return _table(ERRORS)


def abi_entries(value: Any) -> Any:
    """The ABI of a compiler's JSON, or the value if it is one."""
    return value.get("abi") if isinstance(value, dict) else value
