"""One entry of the transcript as a JSON line for services, or as some lines for people at a terminal."""

from __future__ import annotations

import json
from typing import Any, Final, Literal

from zvmd.printable import printable

Form = Literal["text", "colour", "json"]
Entry = dict[str, Any]
"""JSON-ready. ``event``: transaction, call, refused or rewound."""

WEI_PER_ETHER: Final = 10**18
INDENT: Final = " " * 10
_RESET: Final = "\x1b[0m"
_GREEN, _RED, _CYAN, _DIM = "\x1b[32m", "\x1b[31m", "\x1b[36m", "\x1b[2m"
_COLOURS: Final = {"ok": _GREEN, "failed": _RED, "refused": _RED, "console": _CYAN, "dim": _DIM}


def written(entry: Entry, form: Form) -> str:
    """The entry as whole lines."""
    if form == "json":
        return json.dumps(entry) + "\n"
    return "".join(line + "\n" for line in _LAYOUTS[entry["event"]](entry, form == "colour"))


def _transaction(entry: Entry, colour: bool) -> list[str]:
    """
    block 81  ok      Counter.setNumber(5)  gas 43,724
              0xf39fd6e5...92266 -> 0x5fbdb2315678afecb367f032d93f642f64180aa3
              tx 0x923b85e6...
    """
    created = entry["contract"]
    target = f"new {created}" if created else entry["to"]
    value = int(entry["value"], 16)
    sent = f"  value {ether(value)}" if value else ""
    head = _painted(f"block {entry['block']}".ljust(len(INDENT)), "dim", colour)
    return [
        f"{head}{_status(entry, colour)}{_plain(entry['call'])}  gas {entry['gasUsed']:,}",
        f"{INDENT}{short(entry['from'])} -> {target}{sent}",
        INDENT + _painted(f"tx {entry['hash']}", "dim", colour),
        *_details(entry, colour),
    ]


_CALLS: Final = {"eth_call": "call", "eth_estimateGas": "estimate"}


def _call(entry: Entry, colour: bool) -> list[str]:
    head = _painted(_CALLS[entry["method"]].ljust(len(INDENT)), "dim", colour)
    target = entry["to"] or "a new contract"
    return [
        f"{head}{_status(entry, colour)}{_plain(entry['call'])}",
        f"{INDENT}{short(entry['from'])} -> {target}",
        *_details(entry, colour),
    ]


def _refused(entry: Entry, colour: bool) -> list[str]:
    head = _painted("refused".ljust(len(INDENT)), "refused", colour)
    name = f"tx {entry['hash']}" if entry["hash"] is not None else "tx without a nonce"
    return [f"{head}{_plain(entry['reason'])}", f"{INDENT}{name} of {entry['from']}"]


def _rewound(entry: Entry, colour: bool) -> list[str]:
    return [_painted(f"the chain was rewound to block {entry['block']}", "dim", colour)]


_LAYOUTS: Final = {"transaction": _transaction, "call": _call, "refused": _refused, "rewound": _rewound}


def _details(entry: Entry, colour: bool) -> list[str]:
    lines = []
    for said in entry["console"]:
        first, *more = said.split("\n")
        lines.append(f"{INDENT}{_painted('console', 'console', colour)} {_plain(first)}")
        lines += [f"{INDENT}        {_plain(line)}" for line in more]
    if entry["consoleDropped"]:
        lines.append(f"{INDENT}console {entry['consoleDropped']} more calls were not kept")
    if entry["reason"]:
        lines.append(f"{INDENT}{_painted('reason', 'failed', colour)}  {_plain(entry['reason'])}")
    return lines


def _status(entry: Entry, colour: bool) -> str:
    status = entry["status"]
    return _painted(status.ljust(8), status, colour)


def _painted(text: str, name: str, colour: bool) -> str:
    return f"{_COLOURS[name]}{text}{_RESET}" if colour else text


def _plain(text: str) -> str:
    """Text of the chain, which may not steer the terminal."""
    return printable(text)


def short(address: str) -> str:
    """
    >>> short("0xf39fd6e51aad88f6f4ce6ab8827279cfffb92266")
    '0xf39fd6e5...92266'
    """
    return f"{address[:10]}...{address[-5:]}"


def ether(wei: int) -> str:
    """An amount in the largest unit that is readable.

    >>> ether(15 * 10**17), ether(1), ether(10**18)
    ('1.5 ether', '1 wei', '1 ether')
    """
    if wei < 10**12:
        return f"{wei:,} wei"
    whole, part = divmod(wei, WEI_PER_ETHER)
    digits = f"{part:018d}".rstrip("0")
    return f"{whole:,}{'.' + digits if digits else ''} ether"
