"""A node whose standard streams nobody reads, or that has none, serves and ends like any other."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.daemon import clean_environment, free_port
from tests.paths import REPO
from tests.rpc import Rpc

SECONDS = 60.0


def full_pipe() -> int:
    """The writing end of a pipe that is full, and that nobody reads."""
    _, write = os.pipe()
    os.set_blocking(write, False)
    with contextlib.suppress(BlockingIOError):
        while True:
            os.write(write, bytes(4096))
    os.set_blocking(write, True)
    return write


def pipe_without_reader() -> int:
    read, write = os.pipe()
    os.close(read)
    return write


@contextlib.contextmanager
def node(
    data_dir: Path, output: int | None = None, errors: int | None = None, close: tuple[int, ...] = ()
) -> Iterator[tuple[int, int, Rpc]]:
    """A node's process id, its HTTP port and a connection; at the end it has to stop in order."""
    port = free_port(socket.SOCK_STREAM)
    arguments = ["start", "--dev", "--data-dir", str(data_dir), "--http-port", str(port), "--quic-port", "0"]
    process = subprocess.Popen(
        [sys.executable, "-m", "node.cli.main", *arguments],
        cwd=REPO,
        env=clean_environment(),
        preexec_fn=lambda: [os.close(number) for number in close],
        stdout=output,
        stderr=errors,
    )
    rpc = Rpc(f"http://127.0.0.1:{port}")
    end = time.monotonic() + SECONDS  # there is no READY line to wait for
    try:
        while True:
            try:
                rpc.call("eth_chainId")
                break
            except OSError:
                assert process.poll() is None, "it ended"
                assert time.monotonic() < end, "it does not answer"
                time.sleep(0.05)
        yield process.pid, port, rpc
        process.send_signal(signal.SIGTERM)
        assert process.wait(SECONDS) == 0
    finally:
        process.kill()
        process.wait()


def garbage(port: int, count: int) -> None:
    """Requests that each are worth a warning."""
    for _ in range(count):
        with socket.create_connection(("127.0.0.1", port)) as stranger:
            stranger.sendall(b"garbage\r\n\r\n")
            stranger.recv(100)


@pytest.mark.parametrize("make", [full_pipe, pipe_without_reader], ids=lambda make: make.__name__)
def test_pipes_that_nobody_reads(make: Callable[[], int], tmp_path: Path) -> None:
    output, errors = make(), make()
    with node(tmp_path / "node", output, errors) as (_, port, rpc):
        garbage(port, 30)
        assert rpc.call("eth_blockNumber") == "0x0"
        logging = rpc.call("zvmd_status")["logging"]
        assert logging["suppressed"] > 0
        assert logging["lines"] < 30
    os.close(output)
    os.close(errors)


def test_no_standard_streams(tmp_path: Path) -> None:
    """With descriptors 0 to 2 closed a file of the database would be standard error."""
    with node(tmp_path / "node", close=(0, 1, 2)) as (pid, port, rpc):
        held = [str(Path(f"/proc/{pid}/fd/{number}").readlink()) for number in range(3)]
        assert held == [os.devnull] * 3
        garbage(port, 3)
        assert rpc.call("eth_blockNumber") == "0x0"


def test_a_panic_ends_the_process_though_nobody_reads_why() -> None:
    program = """
from node.ops.lines import replace_standard_streams
from node.ops.logging import configure_logging
from node.daemon.panic import panic
_, errors = replace_standard_streams()
configure_logging("info", "json", errors)
panic(None, ValueError("a bug"))
"""
    for errors in (full_pipe(), pipe_without_reader()):
        process = subprocess.Popen([sys.executable, "-c", program], cwd=REPO, stderr=errors)
        assert process.wait(SECONDS) == 70
        os.close(errors)


def test_what_precedes_a_panic_is_not_lost() -> None:
    program = """
import sys
from node.ops.lines import replace_standard_streams
from node.ops.logging import configure_logging
from node.daemon.panic import panic
import structlog
_, errors = replace_standard_streams()
configure_logging("info", "json", errors)
for number in range(15):
    structlog.get_logger("zvmd").error("before", number=number, more="x" * 10_000)
panic(None, ValueError("a bug"))
"""
    done = subprocess.run([sys.executable, "-c", program], cwd=REPO, capture_output=True, text=True, check=False)
    assert done.returncode == 70
    lines = done.stderr.splitlines()
    assert len(lines) == 15 + 1 + 2
    assert '"panic"' in lines[15]
    assert lines[16:] == [
        "error[node.bug]: a bug",
        "hint: start the node again: it recovers everything it acknowledged; please report this with the lines above",
    ]


def test_an_error_at_the_start_is_not_lost(tmp_path: Path) -> None:
    (tmp_path / "node").mkdir()
    (tmp_path / "node" / "FORMAT").write_text("rubbish")
    arguments = ["start", "--dev", "--data-dir", str(tmp_path / "node"), "--http-port", "0", "--quic-port", "0"]
    command = [sys.executable, "-m", "node.cli.main", *arguments]
    done = subprocess.run(command, cwd=REPO, env=clean_environment(), capture_output=True, text=True, check=False)
    assert done.returncode
    assert "error[" in done.stderr
    assert "hint: " in done.stderr
