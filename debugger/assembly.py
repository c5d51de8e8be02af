"""A small assembler that keeps templates readable: opcode names, numbers to push, labels, comments.

    PUSH 5          the shortest PUSH that holds the number
    PUSH4 0x01      a PUSH of this size
    PUSH @end       where the label is (two bytes)
    end:            a label: a JUMPDEST
    # ...           to the end of the line
"""

from __future__ import annotations

import re
from typing import Final

from debugger.errors import InvalidTemplate
from debugger.limits import TEMPLATE_BYTES
from vm.evm.opcodes import BY_NAME

_LABEL: Final = re.compile(r"[a-z][a-z0-9_]*")


def assemble(text: str) -> bytes:
    """Bytecode of the text.

    >>> assemble("PUSH 1  again: PUSH @again JUMP").hex()
    '60015b61000256'

    Raises `InvalidTemplate`.
    """
    if len(text) > TEMPLATE_BYTES:
        raise InvalidTemplate("assembly is too long")
    tokens = [token for line in text.splitlines() for token in line.split("#")[0].split()]
    out = bytearray()
    labels: dict[str, int] = {}
    uses: list[tuple[int, str]] = []
    words = iter(tokens)
    for word in words:
        if word.endswith(":"):
            label = word[:-1]
            if not _LABEL.fullmatch(label) or label in labels:
                raise InvalidTemplate(f"label {word!r} is defined twice or is not a lower-case name")
            labels[label] = len(out)
            out.append(BY_NAME["JUMPDEST"].byte)
        elif word == "PUSH" or (word in BY_NAME and BY_NAME[word].immediate):
            operand = next(words, "")
            if operand.startswith("@"):
                uses.append((len(out) + 1, operand[1:]))
                out += b"\x61\0\0"
            else:
                out += _push(word, operand)
        elif word in BY_NAME:
            out.append(BY_NAME[word].byte)
        else:
            raise InvalidTemplate(f"unknown word {word!r}"[:80])
    for at, label in uses:
        if label not in labels:
            raise InvalidTemplate(f"no label {label!r}"[:80])
        out[at : at + 2] = labels[label].to_bytes(2, "big")
    return bytes(out)


def _push(word: str, operand: str) -> bytes:
    try:
        number = int(operand, 0)
        size = BY_NAME[word].immediate if word != "PUSH" else max(1, (number.bit_length() + 7) // 8)
        return bytes([0x5F + size]) + number.to_bytes(size, "big")
    except (ValueError, OverflowError, IndexError):
        raise InvalidTemplate(f"{word} {operand!r}: not a number that fits"[:100]) from None
