"""Results against the schemas of the execution APIs (OpenRPC), for the methods we serve."""

from __future__ import annotations

import asyncio
import json
import re
import tarfile
from functools import cache
from typing import Any

import pytest

from tests.paths import FIXTURES
from tests.unit.rpc.memory_backend import DEV, MemoryBackend, rpc_service
from tests.unit.rpc.test_service import raw_transaction

ARCHIVE = FIXTURES / "execution-apis-openrpc.tar.xz"
pytestmark = pytest.mark.skipif(not ARCHIVE.exists(), reason="no fixtures")

ALICE = "0x" + "aa" * 20
CASES: list[tuple[str, list[Any]]] = [
    ("eth_accounts", []),
    ("eth_blobBaseFee", []),
    ("eth_blockNumber", []),
    ("eth_call", [{"to": ALICE, "input": "0x01"}, "latest"]),
    ("eth_chainId", []),
    ("eth_coinbase", []),
    ("eth_estimateGas", [{"to": ALICE}]),
    ("eth_feeHistory", ["0x2", "latest", [10, 90]]),
    ("eth_feeHistory", ["0x0", "latest", []]),
    ("eth_gasPrice", []),
    ("eth_getBalance", [ALICE, "latest"]),
    ("eth_getBlockByHash", ["{block}", True]),
    ("eth_getBlockByNumber", ["0x1", False]),
    ("eth_getBlockByNumber", ["0x1", True]),
    ("eth_getBlockByNumber", ["0x99", True]),
    ("eth_getBlockReceipts", ["0x1"]),
    ("eth_getBlockTransactionCountByHash", ["{block}"]),
    ("eth_getBlockTransactionCountByNumber", ["0x1"]),
    ("eth_getCode", [ALICE, "latest"]),
    ("eth_getLogs", [{"fromBlock": "0x0", "toBlock": "latest"}]),
    ("eth_getStorageAt", [ALICE, "0x0", "latest"]),
    ("eth_getTransactionByBlockHashAndIndex", ["{block}", "0x0"]),
    ("eth_getTransactionByBlockNumberAndIndex", ["0x1", "0x0"]),
    ("eth_getTransactionByHash", ["{transaction}"]),
    ("eth_getTransactionCount", [ALICE, "latest"]),
    ("eth_getTransactionReceipt", ["{transaction}"]),
    ("eth_maxPriorityFeePerGas", []),
    ("eth_newBlockFilter", []),
    ("eth_newFilter", [{"fromBlock": "0x0"}]),
    ("eth_newPendingTransactionFilter", []),
    ("eth_sendTransaction", [{"from": "0x" + DEV.hex(), "to": ALICE}]),
    ("eth_sign", ["0x" + DEV.hex(), "0x1234"]),
    ("eth_syncing", []),
    ("net_version", []),
    ("txpool_status", []),
    ("debug_getRawBlock", ["0x1"]),
    ("debug_getRawHeader", ["0x1"]),
    ("debug_getRawReceipts", ["0x1"]),
    ("debug_getRawTransaction", ["{transaction}"]),
]


@cache
def schemas() -> dict[str, Any]:
    with tarfile.open(ARCHIVE) as archive:
        member = next(item for item in archive if item.name.endswith("/openrpc.json") or item.name == "openrpc.json")
        file = archive.extractfile(member)
        assert file is not None
        document = json.load(file)
    return {method["name"]: method["result"]["schema"] for method in document["methods"]}


def problems(schema: dict[str, Any], value: Any, path: str = "result") -> list[str]:
    """Violations of the small part of JSON Schema that the execution APIs use."""
    if "oneOf" in schema or "anyOf" in schema:
        options = schema.get("oneOf") or schema["anyOf"]
        attempts = [problems(option, value, path) for option in options]
        return [] if any(not found for found in attempts) else min(attempts, key=len)
    found = [problem for part in schema.get("allOf", []) for problem in problems(part, value, path)]
    kinds = {
        "object": dict,
        "array": list,
        "string": str,
        "boolean": bool,
        "null": type(None),
        "number": (int, float),
    }
    kind = schema.get("type")
    if kind is not None and not isinstance(value, kinds[kind]):
        return [*found, f"{path}: {kind} expected, got {value!r}"]
    if "pattern" in schema and isinstance(value, str) and not re.search(schema["pattern"], value):
        found.append(f"{path}: {value!r} does not match {schema['pattern']}")
    if "enum" in schema and value not in schema["enum"]:
        found.append(f"{path}: {value!r} not in {schema['enum']}")
    if isinstance(value, dict):
        found += [f"{path}.{name}: missing" for name in schema.get("required", []) if name not in value]
        known = schema.get("properties", {})
        for name, item in value.items():
            if name in known:
                found += problems(known[name], item, f"{path}.{name}")
            elif schema.get("additionalProperties") is False:
                found.append(f"{path}.{name}: not known")
    if isinstance(value, list) and isinstance(schema.get("items"), dict):
        for index, item in enumerate(value):
            found += problems(schema["items"], item, f"{path}[{index}]")
    return found


@pytest.mark.parametrize(("method", "params"), CASES, ids=lambda value: value if isinstance(value, str) else "")
def test_results_fit_the_schemas(method: str, params: list[Any]) -> None:
    async def run() -> Any:
        backend = MemoryBackend()
        service = rpc_service(backend)
        try:
            names = {"{transaction}": await service.call("eth_sendRawTransaction", [raw_transaction(0)])}
            names["{block}"] = "0x" + backend.head().hash.hex()
            return await service.call(method, [names.get(p, p) if isinstance(p, str) else p for p in params])
        finally:
            service.close()

    assert problems(schemas()[method], asyncio.run(run())) == []


def test_the_checker_finds_faults() -> None:
    schema = schemas()["eth_getBlockByNumber"]
    assert problems(schema, {"number": "0x01"})
    assert problems(schemas()["eth_chainId"], "0x01")
