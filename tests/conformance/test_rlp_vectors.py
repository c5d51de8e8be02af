"""RLPTests of ethereum/tests."""

from __future__ import annotations

from typing import Any

import pytest

from chain import rlp
from chain.errors import InvalidRlp
from tests.conformance.archives import cases, unhex

CASES = [
    (f"{path.rsplit('/')[-1]}:{name}", case)
    for path, name, case in cases("ethtests-v14.1-small", "RLPTests/")
]


def as_item(value: Any) -> rlp.Item:
    if isinstance(value, list):
        return [as_item(part) for part in value]
    if isinstance(value, int):
        return rlp.encode_int(value)
    if value.startswith("#"):
        return rlp.encode_int(int(value[1:]))
    return value.encode()


@pytest.mark.parametrize("case", [case for _, case in CASES], ids=[name for name, _ in CASES])
def test_rlp(case: dict[str, Any]) -> None:
    encoded = unhex(case["out"])
    if case["in"] == "INVALID":
        with pytest.raises(InvalidRlp):
            rlp.decode(encoded)
        return
    if case["in"] == "VALID":
        assert rlp.encode(rlp.decode(encoded)) == encoded
        return
    item = as_item(case["in"])
    assert rlp.encode(item) == encoded
    assert rlp.decode(encoded) == item


def test_there_are_vectors() -> None:
    assert len(CASES) > 10
