"""The worked example "Add an RPC method": one file changes, and a daemon of that tree answers the new method."""

from __future__ import annotations

import json
import urllib.request
from pathlib import Path

from tests.daemon import Daemon
from tests.house.worked_examples import DAEMON, apply_example, first_on_path, run_python

METHOD = "eth_baseFee"


def test_the_method_is_answered_listed_and_open_to_pages(tmp_path: Path) -> None:
    root = apply_example("Add an RPC method", tmp_path)
    page = {"Origin": "https://example.org", "Content-Type": "application/json"}
    with Daemon(tmp_path / "data", command=DAEMON, environment=first_on_path(root)) as daemon:
        rpc = daemon.rpc()
        fee = rpc.call(METHOD)
        assert fee == rpc.call("eth_feeHistory", "0x1", "latest", [])["baseFeePerGas"][-1]
        assert METHOD in rpc.call("rpc_methods")["methods"]
        body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": METHOD, "params": []}).encode()
        request = urllib.request.Request(daemon.http_url, body, page)
        with urllib.request.urlopen(request, timeout=60) as response:
            assert json.load(response)["result"] == fee
    assert f"| `{METHOD}` |  |  | read | Base fee of the next block, wei per gas. |" in run_python(
        root, "-m", "tests.house.method_table"
    )
