"""Receipts over logs as native code records them say what receipts over the same logs as objects say."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chain import rlp
from chain.receipts import Log, Receipt, bloom_may_hold, bloom_of, encode_receipt
from storage.blocks.receipts import decode_receipts, encode_receipts
from tests.unit.chain.strategies import logs
from vm.evm.layout import LogRecord
from vm.evm.native_state.logs import NativeLogs


def record(entries: list[Log]) -> NativeLogs:
    """The bytes that native code writes for these logs."""
    written = b""
    for log in entries:
        head = struct.pack("<QQ", len(log.topics), len(log.data)).ljust(LogRecord.ADDRESS, b"\0")
        written += (head + log.address[::-1]).ljust(len(head) + 32, b"\0") + b"".join(log.topics)
        written += log.data + bytes(-len(log.data) % 32)
    return NativeLogs(written)


def by_definition(receipt: Receipt) -> bytes:
    """`encode_receipt` as the Yellow Paper and EIP-2718 say it, through the RLP of lists."""
    outcome = receipt.post_state or b"" if receipt.status is None else b"\x01" * receipt.status
    fields = (outcome, rlp.encode_int(receipt.cumulative_gas_used), bloom_of(receipt.logs), receipt.logs)
    return bytes((receipt.type,)) * bool(receipt.type) + rlp.encode(fields)


@given(
    st.lists(logs, max_size=4),
    st.lists(logs, max_size=2),
    st.sampled_from([(1, None), (0, None), (None, b"\x07" * 32)]),
    st.integers(0, 4),
    st.integers(0, 2**63),
)
def test_recorded_logs_are_the_logs(
    native: list[Log], made: list[Log], outcome: tuple[int | None, bytes | None], kind: int, gas: int
) -> None:
    entries = [*native, *made]
    plain = Receipt(kind, *outcome, gas, tuple(entries), 5, 7)
    raw = Receipt(kind, *outcome, gas, (*([record(native)] if native else []), *made), 5, 7)
    assert encode_receipt(raw) == encode_receipt(plain) == by_definition(plain)
    assert raw.bloom == plain.bloom
    assert all(bloom_may_hold(raw.bloom, word) for log in entries for word in (log.address, *log.topics))
    stored = encode_receipts([raw], ())
    assert stored == encode_receipts([plain], ())
    assert decode_receipts(stored)[0] == (raw,)
    assert raw.logs == tuple(entries)
    assert raw == plain
    assert repr(raw) == repr(plain)
    assert hash(raw) == hash(plain)
    assert encode_receipt(raw) == encode_receipt(plain)


def test_receipts_that_differ_are_not_equal() -> None:
    one = Receipt(2, 1, None, 21_000, ())
    assert one != Receipt(2, 0, None, 21_000, ())
    assert one != Receipt(2, 1, None, 21_000, (Log(b"\1" * 20, (), b""),))  # type: ignore[arg-type]
    assert one != "a receipt"
    with pytest.raises(AttributeError):
        one.status = 0  # type: ignore[misc]
    assert not bloom_may_hold(one.bloom, b"\1" * 20)
