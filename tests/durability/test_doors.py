"""READY means that the node has reached itself as clients do; what keeps it from that is told with its status."""

from __future__ import annotations

import asyncio
import json
import shutil
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from chain.errors import EXIT_CONFIG, EXIT_UNAVAILABLE, ZvmdError
from node.auth.errors import UnusableCertificate, UnusableToken
from node.daemon.doors import try_doors
from node.daemon.errors import Unreachable
from tests.crash.forked_daemon import ForkedDaemon, Zygote
from tests.daemon import CHAIN_ID
from tests.durability.starts import from_another_clock

FILES = ("endpoints.json", "token", "tls")


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    place = tmp_path_factory.mktemp("doors")
    zygote = Zygote(place / "log")
    daemon = ForkedDaemon(zygote, place / "data")
    daemon.start()
    yield place / "data"
    daemon.close()
    zygote.close()


@pytest.fixture
def seen(running: Path, tmp_path: Path) -> Path:
    """A copy of what clients read, to be changed."""
    for name in FILES:
        source = running / name
        (shutil.copytree if source.is_dir() else shutil.copy2)(source, tmp_path / name)
    return tmp_path


def fault(directory: Path, chain_id: int = CHAIN_ID) -> ZvmdError:
    with pytest.raises(ZvmdError) as met:
        asyncio.run(try_doors(directory, chain_id))
    assert met.value.hint
    return met.value


def announce(directory: Path, **urls: str) -> None:
    path = directory / "endpoints.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | urls))


def test_a_node_that_clients_reach(seen: Path) -> None:
    asyncio.run(try_doors(seen, CHAIN_ID))


@pytest.mark.parametrize("damage", ["missing", "empty", "garbage", "of another node", "of another clock"])
def test_the_certificate_is_tried(seen: Path, damage: str) -> None:
    path = seen / "tls" / "authority.pem"
    if damage == "missing":
        path.unlink()
    elif damage in ("empty", "garbage"):
        path.write_bytes(b"" if damage == "empty" else b"-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----\n")
    else:
        from_another_clock(seen / "tls", 0 if damage == "of another node" else 30)
    met = fault(seen)
    assert isinstance(met, UnusableCertificate)
    assert met.exit_code == EXIT_CONFIG


@pytest.mark.parametrize("token", [None, b"", b"ab" * 32, b"\xff" * 64])
def test_the_token_is_tried(seen: Path, token: bytes | None) -> None:
    (seen / "token").unlink() if token is None else (seen / "token").write_bytes(token)
    met = fault(seen)
    assert isinstance(met, UnusableToken)
    assert met.exit_code == EXIT_CONFIG


@pytest.mark.parametrize(
    "answer",
    [
        b"", b"HTTP/1.1 503 Busy\r\ncontent-length: 0\r\n\r\n", b"garbage", b"HTTP/1.1 200 OK\r\n\r\n[]",
        b'HTTP/1.1 200 OK\r\n\r\n{"result": "0x1"}', b'HTTP/1.1 200 OK\r\n\r\n{"error": {}}',
    ],
)  # fmt: skip
def test_another_program_at_the_address_is_not_taken_for_the_node(seen: Path, answer: bytes) -> None:
    with answering(answer) as port:
        announce(seen, http=f"http://127.0.0.1:{port}")
        met = fault(seen)
    assert isinstance(met, Unreachable)
    assert met.exit_code == EXIT_UNAVAILABLE


def test_a_closed_door(seen: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        announce(seen, http=f"http://127.0.0.1:{taken.getsockname()[1]}")
        assert isinstance(fault(seen), Unreachable)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    announce(seen, quic=f"quic://127.0.0.1:{port}")
    assert isinstance(fault(seen), Unreachable)


def test_another_chain(seen: Path) -> None:
    assert "instead of 0x7" in str(fault(seen, 7))


@contextmanager
def answering(answer: bytes) -> Iterator[int]:
    """A program that answers its first connection so."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            connection, _ = server.accept()
            with connection:
                connection.recv(65_536)
                connection.sendall(answer)

        thread = threading.Thread(target=serve)
        thread.start()
        yield server.getsockname()[1]
        thread.join()
