"""The request and response pairs of execution-apis, over the genesis of their chain.

Their chain cannot be imported yet: `NEEDS_CHAIN` names the vectors that ask for its blocks, `MISSING` the methods
that are not there. All others must be answered as the vector says: results equal, errors with the same code.
"""

from __future__ import annotations

import json
import tarfile
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from tests.daemon import Daemon
from tests.paths import FIXTURES
from tests.rpc import Rpc

ARCHIVE = FIXTURES / "execution-apis-rpc-compat.tar.xz"
pytestmark = pytest.mark.skipif(not ARCHIVE.exists(), reason="no fixtures")

MISSING = ("eth_baseFee", "eth_config", "eth_simulateV1", "testing_buildBlockV1")
NEEDS_CHAIN = frozenset({
    "debug_getRawHeader/get-block-n",
    "debug_traceBlockByNumber/trace-block-storage-snapshot-timing",
    "debug_traceBlockByNumber/trace-block-with-transactions",
    "debug_traceTransaction/trace-contract-call",
    "debug_traceTransaction/trace-legacy-transfer",
    "eth_blockNumber/simple-test",
    "eth_call/call-callenv",
    "eth_call/call-callenv-options-eip1559",
    "eth_call/call-contract",
    "eth_estimateGas/estimate-failed-call",
    "eth_getBalance/get-balance-default-block",
    "eth_getBlockByNumber/get-block-cancun-fork",
    "eth_getBlockByNumber/get-block-london-fork",
    "eth_getBlockByNumber/get-finalized",
    "eth_getBlockReceipts/get-block-receipts-latest",
    "eth_getCode/get-code-eip7702-delegation",
    "eth_getLogs/filter-with-blockHash",
    "eth_getLogs/topic-exact-match",
    "eth_getLogs/topic-wildcard",
    "eth_getProof/get-account-proof-blockhash",
    "eth_getTransactionByHash/get-dynamic-fee",
    "eth_getTransactionByHash/get-legacy-input",
    "eth_getTransactionByHash/get-legacy-tx",
    "eth_getTransactionByHash/get-setcode-tx",
    "eth_getTransactionReceipt/get-access-list",
    "eth_getTransactionReceipt/get-dynamic-fee",
    "eth_getTransactionReceipt/get-legacy-input",
    "eth_sendRawTransaction/send-access-list-transaction",
    "eth_sendRawTransaction/send-dynamic-fee-access-list-transaction",
})  # fmt: skip


@cache
def contents() -> dict[str, bytes]:
    """Files of the archive by path."""
    with tarfile.open(ARCHIVE) as archive:
        files = ((member.name.removeprefix("./"), archive.extractfile(member)) for member in archive)
        return {name: file.read() for name, file in files if file is not None}


VECTORS = sorted(name.removesuffix(".io") for name in contents() if name.endswith(".io")) if ARCHIVE.exists() else []


@pytest.fixture(scope="module")
def rpc(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rpc]:
    folder: Path = tmp_path_factory.mktemp("vectors")
    (folder / "genesis.json").write_bytes(contents()["genesis.json"])
    daemon = Daemon(folder / "data", "--genesis", str(folder / "genesis.json"))
    try:
        daemon.start()
        yield daemon.rpc()
    finally:
        daemon.close()


def agrees(rpc: Rpc, vector: str) -> bool:
    """Whether each answer is the vector's. One that is for schemas only needs a result, or that error."""
    is_sketch = "// speconly" in vector
    lines = [(line[:3], json.loads(line[3:])) for line in vector.splitlines() if line[:3] in (">> ", "<< ")]
    for (_, request), (_, expected) in zip(lines[::2], lines[1::2], strict=True):
        answer: dict[str, Any] = rpc.exchange(request)
        if answer.get("error", {}).get("code") != expected.get("error", {}).get("code"):
            return False
        if not is_sketch and answer.get("result") != expected.get("result"):
            return False
    return True


@pytest.mark.parametrize("name", VECTORS)
def test_a_vector_is_answered_as_it_says_or_named_with_the_reason(rpc: Rpc, name: str) -> None:
    is_named = name in NEEDS_CHAIN or name.startswith(MISSING)
    assert agrees(rpc, contents()[f"{name}.io"].decode()) != is_named


def test_the_list_names_vectors() -> None:
    assert set(VECTORS) >= NEEDS_CHAIN
