"""As `tests.unit.test_linear`, for what comes from files: templates, sessions, settings, a genesis and the log."""

from __future__ import annotations

import io
import tracemalloc
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import msgspec
import pytest

from chain.genesis import Genesis, dev_genesis
from chain.types import Address
from debugger.breakpoints import Breakpoint, Condition
from debugger.msgpack_shape import check_shape
from debugger.persist import SessionRecord, decode_record, encode_record, record_of
from debugger.sharing import ABOUT, RECORD, About, import_session, pack
from debugger.templates import parse_template
from node.dap.protocol import messages
from node.settings import load_settings
from storage.blocks.delta import decode_delta
from storage.blocks.receipts import decode_receipts
from storage.sessions.records import decode_session, decode_template
from storage.wal.format import decode_segment_header
from storage.wal.records import (
    decode_command,
    decode_environment,
    decode_genesis,
    decode_seal,
    encode_command,
    encode_genesis,
)
from tests.unit.debugger.programs import session
from tests.unit.test_linear import each, quietly, steps
from tests.unit.vm.programs import code

SIZES = (500, 1_000, 2_000)

TEMPLATE = 'title = "t"\n[start]\ncode = "0x00"\n'


def toml_texts(n: int) -> list[str]:
    """TOML on which a careless parser takes long; most of it is neither a template nor settings."""
    return [
        ".".join("a" * n) + " = 1",
        "[" + ".".join("a" * n) + "]",
        "a = " + "[" * n,
        "a = " + "[[], " * n,
        "a = {b = " * n,
        "[a]\n" * n,
        "[[a]]\n" * n,
        "[[a.b]]\n" * n,
        "".join(f"k{number} = {number}\n" for number in range(n)),
        "".join(f"[t{number}]\n" for number in range(n)),
        'a = "' + '\\"' * n,
        'a = "' + "\\\\" * n + '"',
        'a = "' + "\\u0041" * n + '"',
        'a = """' + '""' * n,
        'a = """' + "\\\n" * n + '"""',
        "a = '''" + "'" * n,
        "a = " + "1" * n,
        "a = 1" + "_1" * n,
        "a = 1." + "1" * n + "e",
        "# " + "#" * n,
        "\r\n" * n,
        " " * n + "=",
        '"' * n,
        "a = [" + "1," * n + "]",
        "a = [" + "#\n" * n + "]",
    ]


def settings_of(text: str, path: Path) -> None:
    path.write_text(text)
    load_settings(flags={}, environ={}, file=path)


def record(**changed: Any) -> SessionRecord:
    return msgspec.structs.replace(record_of(session(code(1, "POP STOP"))), **changed)


def file_of(given: SessionRecord) -> bytes:
    about = About(given.name, given.tags, "osaka", given.position, True)
    return pack({ABOUT: msgspec.json.encode(about), RECORD: encode_record(given)})


def hostile_sections(n: int) -> list[bytes]:
    """MessagePack of few bytes that means much, or is not finished."""
    return [
        b"\x91" * n,
        b"\xdd\xff\xff\xff\xff" * n,
        b"\xdf\x00\x00\xff\xff" + b"\xa1a\x01" * n,
        b"\xdc" + (n).to_bytes(2, "big") + b"\x01" * n,
        msgspec.msgpack.encode({str(number): 1 for number in range(n)}),
        msgspec.msgpack.encode(["x" * n]),
        b"\x81" * n,
    ]


def genesis_of(n: int) -> dict[str, Any]:
    document = dev_genesis(1, [Address(number.to_bytes(20, "big")) for number in range(1, n + 1)]).to_json()
    document["alloc"]["0x" + "ff" * 20] = {"storage": {hex(slot): "0x1" for slot in range(n)}, "code": "0x" + "5b" * n}
    return document


ANY_RECORD = (
    decode_environment,
    decode_seal,
    decode_command,
    decode_genesis,
    decode_delta,
    decode_receipts,
    decode_template,
    decode_segment_header,
    lambda data: decode_session(20, data),
)

DECODERS: dict[str, Callable[[int, Path], Any]] = {
    "templates": lambda n, _: each(parse_template, *toml_texts(n), *(TEMPLATE + t for t in toml_texts(n))),
    "template code": lambda n, _: each(parse_template, TEMPLATE.replace("0x00", "0x" + "5b" * n)),
    "settings": lambda n, path: each(lambda text: settings_of(text, path / "zvmd.toml"), *toml_texts(n)),
    "environment": lambda n, _: quietly(
        lambda: load_settings(flags={}, environ={f"ZVMD_A{number}": "1" for number in range(n)})
    ),
    "session sections": lambda n, _: each(check_shape, *hostile_sections(n)),
    "session records": lambda n, _: each(decode_record, *hostile_sections(n)),
    "session files": lambda n, _: each(import_session, b"", b"ZVMDSESS" * n, pack({ABOUT: b"{" * n, RECORD: b"\x90"})),
    "a session's tags": lambda n, _: quietly(lambda: import_session(file_of(record(tags=("tag",) * n)))),
    "a session's breakpoints": lambda n, _: quietly(
        lambda: import_session(
            file_of(record(breakpoints=tuple(Breakpoint("pc", number, number) for number in range(1, n + 1))))
        )
    ),
    "breakpoints": lambda n, _: each(
        lambda point: Condition(msgspec.convert(point, Breakpoint)),
        *({"kind": "expression", "expression": text} for text in ("(" * n, "1 + " * n + "1", "pc == 1 || " * n)),
        *({"kind": "pc", "pc": 1, field: "0x" + "1" * n} for field in ("address", "code", "condition")),
        {"kind": "opcode", "opcode": "PUSH" * n},
        {"kind": "slot_write", "slot": "0x" + "0" * n},
    ),
    "genesis": lambda n, _: each(Genesis.from_json, genesis_of(n), {"config": {f"a{i}Block": 1 for i in range(n)}}),
    "log records": lambda n, _: each(
        lambda pair: pair[0](pair[1]), *((read, data) for read in ANY_RECORD for data in hostile_sections(n))
    ),
    "commands": lambda n, _: each(decode_command, encode_command("amend", [["x", 2**200]] * n)),
    "genesis record": lambda n, _: each(decode_genesis, encode_genesis({str(number): [] for number in range(n)})),
    "an editor's messages": lambda n, _: each(
        lambda data: list(messages(io.BufferedReader(io.BytesIO(data)))),
        *(b"Content-Length: " + b" " * n, b"content-length:" * n + b"\n", b"x" * n, b"\r\n" * n, b"a:b\n" * n),
        b"Content-Length: %d\r\n\r\n" % n + b"[" * n,
        b"Content-Length: 2\r\n\r\n{}" * n,
    ),
}


@pytest.mark.parametrize("name", DECODERS)
def test_steps_grow_with_the_length_only(name: str, tmp_path: Path) -> None:
    DECODERS[name](SIZES[0], tmp_path)  # what is made once and kept
    counts = [steps(lambda n=n: DECODERS[name](n, tmp_path)) for n in SIZES]  # type: ignore[misc]
    for smaller, larger in pairwise(counts):
        assert larger <= 2.2 * smaller + 200, counts


def peak_bytes(run: Callable[[], object]) -> int:
    tracemalloc.start()
    try:
        run()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("name", DECODERS)
def test_memory_grows_with_the_length_only(name: str, tmp_path: Path) -> None:
    """What C code copies again and again shows here: a key of many parts took the square of them."""
    DECODERS[name](SIZES[0], tmp_path)
    smaller, larger = (peak_bytes(lambda n=n: DECODERS[name](n, tmp_path)) for n in (500, 2_000))  # type: ignore[misc]
    assert larger <= 5 * smaller + 200_000
