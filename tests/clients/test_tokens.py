"""``zvmd token`` and ``zvmd audit`` on a node that runs and on one that does not."""

from __future__ import annotations

import json
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import zvmd
from tests.commands import run_command
from tests.daemon import Daemon, DaemonFailed


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    with Daemon(tmp_path_factory.mktemp("tokens") / "data") as daemon:
        yield daemon


def run(daemon: Daemon, *arguments: str, ok: bool = True) -> subprocess.CompletedProcess[str]:
    result = run_command(*arguments, "--data-dir", str(daemon.data_dir))
    assert (result.returncode == 0) == ok, result.stderr
    return result


def create(daemon: Daemon, name: str, *options: str) -> str:
    return run(daemon, "token", "create", name, *options).stdout.strip()


def post(daemon: Daemon, token: str, method: str, *params: Any) -> Any:
    """The result, the slug or message of an error, or the status of a refusal."""
    body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}).encode()
    headers = {"Content-Type": "application/json", "Authorization": f"Bearer {token}"}
    try:
        with urllib.request.urlopen(urllib.request.Request(daemon.http_url, body, headers)) as response:
            answer = json.load(response)
    except urllib.error.HTTPError as refused:
        return refused.code
    return answer["result"] if "result" in answer else answer["error"]["data"]["code"]


def client(daemon: Daemon, token: str) -> zvmd.Node:
    return zvmd.Node(f"quic://127.0.0.1:{daemon.quic_port}", token=token, data_dir=daemon.data_dir)


def test_a_token_counts_at_once_until_it_is_revoked(daemon: Daemon) -> None:
    token = create(daemon, "reader", "--scope", "read", "--expires", "1h")
    assert post(daemon, token, "eth_chainId") == "0x7a69"
    assert post(daemon, token, "eth_sendRawTransaction", "0x00") == "rpc.scope"
    assert post(daemon, token, "zvmd_tokenList") == "rpc.scope"
    (entry,) = [each for each in json.loads(run(daemon, "token", "list", "--json").stdout) if each["name"] == "reader"]
    assert entry["expires"] - entry["created"] == 3600
    assert entry["scopes"] == ["read"]
    assert "reader" in run(daemon, "token", "list").stdout
    with client(daemon, token) as node:
        assert node.rpc("eth_chainId") == "0x7a69"
        with pytest.raises(zvmd.MissingScope, match="develop"):
            node.rpc("zvmd_mine")
        revoked = json.loads(run(daemon, "token", "revoke", entry["id"], "--json").stdout)
        assert revoked["name"] == "reader"
        with pytest.raises(zvmd.ConnectionFailed):
            node.rpc("eth_chainId")
    assert post(daemon, token, "eth_chainId") == 401
    assert "auth.unknown_token" in run(daemon, "token", "revoke", "reader", ok=False).stderr
    assert token not in daemon.log()
    assert token not in (daemon.data_dir / "audit.log").read_text()


def test_whoever_has_the_scope_admin_makes_tokens_over_http_too(daemon: Daemon) -> None:
    admin = create(daemon, "admin", "--scope", "admin", "--scope", "read")
    made = post(daemon, admin, "zvmd_tokenCreate", "made", ["read"], {"connections": 3})
    assert post(daemon, made["token"], "eth_chainId") == "0x7a69"
    assert post(daemon, admin, "zvmd_tokenCreate", "more", ["send"]) == "auth.token_refused"
    for params in (["x", "read"], ["x", [["read"]]], [["x"], ["read"]], ["x\n", ["read"]], ["x", ["read"], {"a": 1}]):
        assert post(daemon, admin, "zvmd_tokenCreate", *params) in ("auth.token_refused", "rpc.params"), params
    assert post(daemon, made["token"], "zvmd_tokenRevoke", "admin") == "rpc.scope"
    assert post(daemon, admin, "zvmd_tokenRevoke", "made")["id"] == made["id"]
    assert post(daemon, made["token"], "eth_chainId") == 401
    records = [json.loads(line) for line in run(daemon, "audit", "--json", "-n", "100").stdout.splitlines()]
    acts = [(each["method"], each["outcome"]) for each in records if each.get("caller") == "admin"]
    assert acts[:2] == [("zvmd_tokenCreate", "done"), ("zvmd_tokenCreate", "auth.token_refused")]
    assert acts[-1] == ("zvmd_tokenRevoke", "done")
    assert "admin  (http 127.0.0.1)" in run(daemon, "audit").stdout


def test_wrong_usage_is_told(daemon: Daemon) -> None:
    for arguments in (
        ["create", "a b", "--scope", "read"], ["create", "x"], ["create", "x", "--scope", "all"],
        ["create", "x", "--scope", "read", "--expires", "soon"], ["create", "x", "--scope", "read", "--expires", "0s"],
        ["create", "x", "--scope", "read", "--connections", "0"], ["revoke", "nobody"],
    ):  # fmt: skip
        result = run(daemon, "token", *arguments, ok=False)
        assert "Traceback" not in result.stderr
    assert not [each for each in json.loads(run(daemon, "token", "list", "--json").stdout) if each["name"] == "x"]


def test_without_a_node_the_file_is_changed_and_damage_keeps_the_node_from_starting(tmp_path: Path) -> None:
    daemon = Daemon(tmp_path / "data")
    try:
        daemon.start()
        daemon.stop()
        kept, gone = create(daemon, "kept", "--scope", "read"), create(daemon, "gone", "--scope", "read")
        run(daemon, "token", "revoke", "gone")
        assert "kept" in run(daemon, "token", "list").stdout
        assert "command line" in run(daemon, "audit").stdout
        daemon.start()
        assert post(daemon, kept, "eth_chainId") == "0x7a69"
        assert post(daemon, gone, "eth_chainId") == 401
        daemon.kill()
        path = daemon.data_dir / "tokens.json"
        path.write_bytes(path.read_bytes()[:-10])
        with pytest.raises(DaemonFailed):
            daemon.start()
        assert "auth.tokens_file" in daemon.log()
        path.unlink()
        daemon.start()
        assert post(daemon, kept, "eth_chainId") == 401, "without the file there are none"
    finally:
        daemon.close()


def test_no_data_directory(tmp_path: Path) -> None:
    for command in (["token", "list"], ["audit"]):
        result = run_command(*command, "--data-dir", str(tmp_path / "none"))
        assert result.returncode != 0
        assert "Traceback" not in result.stderr
    assert not (tmp_path / "none").exists()
    empty = tmp_path / "empty"
    empty.mkdir()
    assert run_command("token", "create", "a", "--scope", "read", "--data-dir", str(empty)).returncode != 0
    assert not list(empty.iterdir()), "a directory of something else is left as it is"
