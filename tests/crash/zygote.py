"""Forks whole daemons: a parent that has imported everything runs the real ``zvmd start`` in a child for each order.

What differs from a process started by a shell: modules and the machine are loaded, development keys derived and the
key of QUIC's retry tokens made before the fork; jobs that run every second run more often. Sockets, threads, files and
the way down are a child's own.
"""

from __future__ import annotations

import ctypes
import gc
import json
import os
import signal
import socket
import sys
import tempfile
from collections.abc import Mapping
from functools import cache, partial
from pathlib import Path

import qh3.quic.retry

import node.cli.main
import node.daemon.periodic
import node.daemon.run
import node.ops.reading
from chain.forks import Fork
from node.engine.accounts import DevAccounts
from node.ops.lines import Lines, flush_standard_streams
from storage.io.failpoints import arm
from vm.evm.native import load_interpreter

MESSAGE_BYTES = 65_536
INDEX_SECONDS = 0.1
INDEX_DUE_SECONDS = 0.2
CHECKPOINT_LOOK_SECONDS = 0.05
SPACE_SECONDS = 0.1
COMPRESSION_SECONDS = 0.2
PIPE_SECONDS = 0.2
FILES_SECONDS = 0.1
WARM = b"warm"
_PR_SET_PDEATHSIG = 1
_PR_CAPBSET_DROP = 24


def main() -> None:
    """Warm up, then fork a daemon for each order and say how it ended."""
    orders = socket.socket(fileno=int(sys.argv[1]))
    die_with_parent = partial(ctypes.CDLL(None).prctl, _PR_SET_PDEATHSIG, signal.SIGKILL)
    die_with_parent()
    node.daemon.periodic.INDEX_SECONDS = INDEX_SECONDS
    node.daemon.periodic.INDEX_DUE_SECONDS = INDEX_DUE_SECONDS
    node.daemon.periodic.CHECKPOINT_LOOK_SECONDS = CHECKPOINT_LOOK_SECONDS
    node.daemon.periodic.SPACE_SECONDS = SPACE_SECONDS
    node.daemon.periodic.COMPRESSION_SECONDS = COMPRESSION_SECONDS
    node.ops.reading.PIPE_SECONDS = PIPE_SECONDS
    node.daemon.periodic.FILES_SECONDS = FILES_SECONDS
    DevAccounts.of_mnemonic = cache(DevAccounts.of_mnemonic)  # type: ignore[method-assign]
    qh3.quic.retry.Rsa = cache(qh3.quic.retry.Rsa)  # type: ignore[assignment, misc, attr-defined]
    warm_up()
    gc.freeze()
    orders.send(WARM)
    while True:
        message, files, _, _ = socket.recv_fds(orders, MESSAGE_BYTES, 2)
        if not message:
            return
        order = json.loads(message)
        child = os.fork()
        if not child:
            die_with_parent()
            orders.close()
            if order["unprivileged"]:
                give_up_reading_everything()
            if order["user"]:
                os.setgid(order["user"])
                os.setuid(order["user"])
                die_with_parent()  # a change of user forgets it
            live(order["arguments"], order["environment"], order["directory"], order["failpoint"], files)
        for file in files:
            os.close(file)
        orders.send(json.dumps(child).encode())
        _, status = os.waitpid(child, 0)
        orders.send(json.dumps(os.waitstatus_to_exitcode(status)).encode())


def live(
    arguments: list[str], environment: Mapping[str, str], directory: str, failpoint: str, files: list[int]
) -> None:
    """Be the command ``zvmd``; never returns."""
    code = 1
    try:
        os.setsid()
        os.chdir(directory)
        os.environ.clear()
        os.environ.update(environment)
        for number, file in enumerate((os.open(os.devnull, os.O_RDONLY), *files)):
            os.dup2(file, number)
        arm(failpoint)
        sys.argv = ["zvmd", *arguments]
        node.cli.main.main()
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(bool(end.code))
    except BaseException:
        sys.excepthook(*sys.exc_info())
    finally:
        flush_standard_streams()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def give_up_reading_everything() -> None:
    """Root, too, is refused by a file's mode from here on: without CAP_DAC_OVERRIDE and CAP_DAC_READ_SEARCH."""
    libc, refused = ctypes.CDLL(None, use_errno=True), (1, 2)
    header, sets = (ctypes.c_uint32 * 2)(0x20080522, 0), (ctypes.c_uint32 * 6)()
    assert libc.capget(header, sets) == 0
    for bit in refused:
        libc.prctl(_PR_CAPBSET_DROP, bit, 0, 0, 0)
        for kind in range(3):  # effective, permitted, inheritable
            sets[kind] &= ~(1 << bit)
    assert libc.capset(header, sets) == 0


def warm_up() -> None:
    """One life in this very process, stopped in order when it is ready: it imports and compiles what all need."""
    put, streams = Lines.put, (sys.stdout, sys.stderr)

    def stop_when_ready(_: Lines, text: str) -> None:
        if text.startswith("READY"):
            os.kill(os.getpid(), signal.SIGTERM)

    load_interpreter(Fork.OSAKA)
    with tempfile.TemporaryDirectory() as directory:
        Lines.put = stop_when_ready  # type: ignore[method-assign]
        arguments = ["start", "--dev", "--data-dir", str(Path(directory) / "data"), "--log-level", "error"]
        node.cli.main.cli([*arguments, "--http-port", "0", "--quic-port", "0"], standalone_mode=False)
        Lines.put = put  # type: ignore[method-assign]
    sys.stdout, sys.stderr = streams


if __name__ == "__main__":
    main()
