"""The daemon does not load what it does not need, nor libraries that weaken the interpreter."""

from __future__ import annotations

import json
import subprocess
import sys

from tests.paths import REPO

UNWANTED = {
    "py_ecc": "raises the recursion limit to 100,000: hostile nesting would overflow the C stack",
    "eth_account": "imports py_ecc, and takes a second",
    "web3": "a client",
    "wasmtime": "only for WASM contracts",
    "trie": "only for `zvmd verify`",
    "sqlalchemy": "only for the index process: 20 MiB",
    "alembic": "only for the index process, and there for a migration",
}


def test_the_daemon_loads_no_unwanted_library_and_keeps_the_recursion_limit() -> None:
    program = (
        "import sys, json, node.daemon.run, node.rpc.methods; node.rpc.methods.load_methods();"
        "print(json.dumps([sorted(sys.modules), sys.getrecursionlimit()]))"
    )
    printed = subprocess.run(
        [sys.executable, "-c", program], cwd=REPO, capture_output=True, text=True, check=True
    ).stdout
    modules, limit = json.loads(printed)
    assert limit == 1000
    assert not {name.split(".")[0] for name in modules} & set(UNWANTED)
