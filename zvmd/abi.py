"""Contract signatures as people write them: ``balanceOf(address)(uint256)``, and values from text.

>>> signature = parse_signature("transfer(address to, uint256 amount)(bool)")
>>> signature.name, signature.inputs, signature.outputs
('transfer', ('address', 'uint256'), ('bool',))
>>> signature.canonical
'transfer(address,uint256)'
"""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass
from typing import Any

from zvmd.errors import InvalidInput
from zvmd.printable import printable

UNITS_WEI = {"wei": 1, "gwei": 10**9, "ether": 10**18, "eth": 10**18}
TYPES = ("address", "bool", "bytes", "string", "function", "int", "uint", "fixed", "ufixed")
"""Of the ABI, without their sizes."""

AddressLike = bytes | str


@dataclass(frozen=True, slots=True)
class Signature:
    """A function with its types."""

    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]

    @property
    def canonical(self) -> str:
        """What the selector is the hash of."""
        return f"{self.name}({','.join(self.inputs)})"

    @property
    def selector(self) -> bytes:
        """First four bytes of the hash."""
        return keccak(self.canonical.encode())[:4]

    def encode(self, values: list[Any]) -> bytes:
        """Calldata. Raises `InvalidInput`."""
        return self.selector + encode_values(self.inputs, values)

    def decode(self, output: bytes) -> tuple[Any, ...]:
        """Return values. Raises `InvalidInput`."""
        return decode_values(self.outputs, output)


def keccak(data: bytes) -> bytes:
    """Keccak-256."""
    from eth_utils.crypto import keccak as hashed

    return bytes(hashed(data))


def bad_input(message: str, hint: str) -> InvalidInput:
    """An error of the caller's input."""
    return InvalidInput(message, hint=hint, rpc_code=-32602)


def parse_signature(text: str) -> Signature:
    """Name, input types and optional output types. Raises `InvalidInput`."""
    text = text.strip().removeprefix("function ")
    name, separator, rest = text.partition("(")
    if not separator or not re.fullmatch(r"[A-Za-z_$][A-Za-z0-9_$]*", name):
        raise bad_input(f"{text!r} is not a function signature", "like 'balanceOf(address)(uint256)'")
    inputs, rest = _types("(" + rest)
    modifiers = re.sub(r"\b(external|public|view|pure|payable|returns)\b", " ", rest.partition("(")[0])
    if modifiers.strip():
        raise bad_input(f"{modifiers.strip()!r} in a signature", "like 'balanceOf(address)(uint256)'")
    outputs: tuple[str, ...] = ()
    opening = rest.find("(")
    if opening >= 0:
        outputs, trailing = _types(rest[opening:])
        if trailing.strip():
            raise bad_input(f"{trailing!r} after the output types", "like 'balanceOf(address)(uint256)'")
    return Signature(name, inputs, outputs)


def _types(text: str) -> tuple[tuple[str, ...], str]:
    """Types of a parenthesised list at the start of ``text``, and the rest."""
    depth = 0
    for position, character in enumerate(text):
        depth += (character == "(") - (character == ")")
        if depth == 0:
            return tuple(_type(part) for part in _split(text[1:position])), text[position + 1 :]
    raise bad_input(f"unbalanced parentheses in {text!r}", "close every parenthesis")


def _split(text: str) -> list[str]:
    parts, depth, start = [], 0, 0
    for position, character in enumerate(text):
        depth += (character in "([") - (character in ")]")
        if character == "," and depth == 0:
            parts.append(text[start:position])
            start = position + 1
    tail = text[start:]
    return [*parts, tail] if tail.strip() or parts else []


def _type(text: str) -> str:
    text = text.strip().removeprefix("tuple")
    if text.startswith("("):
        inner, rest = _types(text)
        suffix = re.match(r"(\[\d*+\])*", rest)
        return f"({','.join(inner)})" + (suffix.group() if suffix else "")
    word = text.split()[0] if text.split() else ""
    plain = re.fullmatch(r"([a-z]++[0-9x]*+)((?:\[\d*+\])*)", word)
    if plain is None:
        raise bad_input(f"{text!r} is not an ABI type", "like uint256, address, bytes32[], (uint256,address)")
    kind = {"uint": "uint256", "int": "int256", "byte": "bytes1"}.get(plain.group(1), plain.group(1))
    if (name := kind.rstrip("0123456789x")) not in TYPES:
        near = difflib.get_close_matches(name, TYPES, n=1) or TYPES
        raise bad_input(f"{kind!r} is not an ABI type", f"did you mean {' or '.join(near)}?")
    return kind + plain.group(2)


def types_of_abi(entries: list[dict[str, Any]]) -> tuple[str, ...]:
    """Types of the inputs or outputs of a JSON ABI entry."""
    result = []
    for entry in entries:
        kind = str(entry["type"])
        if kind.startswith("tuple"):
            kind = f"({','.join(types_of_abi(entry['components']))}){kind[5:]}"
        result.append(kind)
    return tuple(result)


def constructor_types(abi: list[dict[str, Any]]) -> tuple[str, ...]:
    """Input types of the constructor of a JSON ABI."""
    for entry in abi:
        if entry.get("type") == "constructor":
            return types_of_abi(entry.get("inputs", []))
    return ()


def encode_values(types: tuple[str, ...], values: list[Any]) -> bytes:
    """ABI encoding; strings are read as on a command line. Raises `InvalidInput`."""
    from eth_abi.abi import encode
    from eth_abi.exceptions import EncodingError, ParseError

    if len(values) != len(types):
        raise bad_input(
            f"{len(types)} arguments are expected ({', '.join(types) or 'none'}), got {len(values)}", ""
        )
    try:
        return bytes(
            encode(types, [parse_value(kind, value) for kind, value in zip(types, values, strict=True)])
        )
    except (EncodingError, ParseError, ValueError, TypeError, OverflowError) as error:
        raise bad_input(
            f"an argument does not fit its type: {error}", f"the types are {', '.join(types)}"
        ) from None


def decode_values(types: tuple[str, ...], output: bytes) -> tuple[Any, ...]:
    """Values of ABI-encoded output. Raises `InvalidInput`."""
    from eth_abi.abi import decode
    from eth_abi.exceptions import DecodingError, ParseError

    try:
        return tuple(decode(types, output))
    except (DecodingError, ParseError, ValueError, OverflowError) as error:
        hint = "is the address a contract, and are the output types right?"
        raise bad_input(f"the output does not fit {', '.join(types)}: {error}", hint) from None


def parse_value(kind: str, value: Any) -> Any:
    """A value of an ABI type; text is read as people type it.

    >>> parse_value("uint256", "1gwei"), parse_value("bool", "true"), parse_value("uint8[]", "[1, 0x2]")
    (1000000000, True, [1, 2])
    """
    array = re.fullmatch(r"(.*)\[\d*+\]", kind)
    if array is not None:
        items = _list(value, "[]") if isinstance(value, str) else value
        return [parse_value(array.group(1), item) for item in items]
    if kind.startswith("("):
        parts = _split(kind[1:-1])
        items = _list(value, "()") if isinstance(value, str) else value
        return tuple(parse_value(part, item) for part, item in zip(parts, items, strict=True))
    if not isinstance(value, str):
        return value
    if kind == "string":
        return value
    text = value.strip()
    if kind == "bool":
        if text.lower() not in ("true", "false", "0", "1"):
            raise ValueError(f"{text!r} is not a bool")
        return text.lower() in ("true", "1")
    if kind.startswith(("uint", "int")):
        return parse_amount(text)
    if kind.startswith("bytes"):
        return bytes.fromhex(text.removeprefix("0x"))
    return address_bytes(text) if kind == "address" else text


def show_value(value: Any) -> str:
    """A decoded ABI value on one line.

    >>> show_value((1, b"\\x01", ["a\\n", True]))
    '(1, 0x01, [a\\\\n, true])'
    """
    if isinstance(value, bytes):
        return "0x" + value.hex()
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple):
        return "(" + ", ".join(map(show_value, value)) + ")"
    if isinstance(value, list):
        return "[" + ", ".join(map(show_value, value)) + "]"
    return printable(str(value))


def address_bytes(value: AddressLike) -> bytes:
    """20 bytes of an address. Raises `InvalidInput`, also when capitals are not those of EIP-55's checksum."""
    digits = value.removeprefix("0x") if isinstance(value, str) else value.hex()
    if not re.fullmatch(r"[0-9a-fA-F]{40}", digits):
        raise bad_input(f"{value!r} is not an address", "20 bytes, or 0x and 40 digits")
    if digits not in (digits.lower(), digits.upper(), _with_checksum(digits)):
        raise bad_input(f"0x{digits} fails its checksum", "a digit is wrong; one in lower case is not checked")
    return bytes.fromhex(digits)


def _with_checksum(digits: str) -> str:
    """Hex digits with the capitals of EIP-55."""
    low = digits.lower()
    pairs = zip(low, keccak(low.encode()).hex(), strict=False)
    return "".join(digit.upper() if nibble >= "8" else digit for digit, nibble in pairs)


def _list(text: str, brackets: str) -> list[str]:
    text = text.strip()
    if not (text.startswith(brackets[0]) and text.endswith(brackets[1])):
        raise ValueError(f"{text!r} is not in {brackets}")
    return [part.strip() for part in _split(text[1:-1])]


def parse_amount(text: str) -> int:
    """An integer: decimal, hex, scientific or with a unit. Raises `InvalidInput`.

    >>> parse_amount("1.5ether"), parse_amount("0x10"), parse_amount("1e3")
    (1500000000000000000, 16, 1000)
    """
    from fractions import Fraction

    text = text.strip().replace("_", "")
    if re.fullmatch(r"-?0x[0-9a-fA-F]{1,64}", text):
        return int(text, 16)
    match = re.fullmatch(r"(-?\d{1,80}(?:\.\d{1,80})?(?:e\d{1,2})?)\s*([a-z]*)", text)
    if match is None or match.group(2) not in ("", *UNITS_WEI):
        raise bad_input(f"{text!r} is not an amount", "like 1000, 0x3e8, 1e3, 1.5ether or 2gwei")
    amount = Fraction(match.group(1)) * UNITS_WEI.get(match.group(2), 1)
    if amount.denominator != 1:
        raise bad_input(f"{text!r} is not a whole number of wei", "an ether has 18 decimals, a gwei 9")
    return int(amount)
