"""``zvmd start``: run a node in the foreground."""

from __future__ import annotations

import asyncio
import gc
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import click

from node.daemon.progress import Progress
from node.ops.lines import replace_standard_streams
from node.settings import find_settings_file, load_settings
from zvmd.printable import printable


@click.command()
@click.option("--data-dir", metavar="DIRECTORY", help="Where the chain is kept.")
@click.option("--config", metavar="FILE", help="Settings file; see `zvmd config`.")
@click.option("--dev", is_flag=True, help="Funded accounts of the well-known test mnemonic, instant sealing.")
@click.option("--genesis", metavar="FILE", help="genesis.json in geth's format, for a new chain.")
@click.option("--accounts", type=int, help="Number of development accounts.  [10]")
@click.option("--mnemonic", help="Mnemonic of the development accounts.")
@click.option("--chain-id", type=int, help="Chain id of a new development chain.  [31337]")
@click.option("--block-gas-limit", type=int, help="Gas limit of new blocks.  [30000000]")
@click.option("--hardfork", help="Fork of a new development chain.  [osaka]")
@click.option("--tx-gas-cap", is_flag=True, help="Whether a new chain caps a transaction's gas at 2**24 (EIP-7825).")
@click.option("--code-size-limit", type=int, help="Largest contract of a new chain, bytes.  [24576]", metavar="BYTES")
@click.option("--disable-code-size-limit", is_flag=True, help="Allow contracts of any size on a new chain.")
@click.option("--block-time", type=float, help="Seal every SECONDS instead of at once.", metavar="SECONDS")
@click.option("--http-host", metavar="ADDRESS", help="Address for JSON-RPC; other machines may reach it.  [127.0.0.1]")
@click.option("--http-port", type=int, help="TCP port for JSON-RPC, 0 for any.  [8545]")
@click.option("--http-tls", type=click.Choice(["off", "auto", "files"]), help="Speak TLS at the HTTP port.  [off]")
@click.option(
    "--allow-origin",
    multiple=True,
    metavar="ORIGIN",
    help="Web pages that may call the standard namespaces; * for all. May be repeated.  [with --dev: all]",
)
@click.option("--quic-host", help="Loopback address for QUIC.  [127.0.0.1]")
@click.option("--quic-port", type=int, help="UDP port for QUIC, 0 for any.  [4433]")
@click.option("--ipc-path", metavar="PATH", help="Unix socket for JSON-RPC.  [zvmd.ipc in the data directory]")
@click.option("--engine", type=click.Choice(["interpreter", "jit", "auto"]), help="How contracts are run.  [auto]")
@click.option("--jit-dump", metavar="DIRECTORY", help="Write the JIT's output into this folder.")
@click.option("--log-level", type=click.Choice(["debug", "info", "warning", "error"]))
@click.option("--log-format", type=click.Choice(["auto", "pretty", "json"]))
@click.option("--quiet", "-q", is_flag=True, help="Print only the READY line and the log.")
@click.option(
    "--abi",
    multiple=True,
    metavar="DIR",
    help="Folder of compiled contracts (out, artifacts), for names in the output. May be repeated.",
)
@click.option(
    "--accept-data-loss",
    type=click.IntRange(min=2),
    metavar="LSN",
    help="Cut a log that is damaged in its durable range before this record.",
)
def start(
    config: str | None, accept_data_loss: int | None, disable_code_size_limit: bool, **flags: object
) -> None:
    """Run a node in the foreground until SIGTERM or Ctrl-C.

    Prints one line beginning READY when it can be used. Starting is always recovery: a node that was killed comes back
    with the same chain.
    """
    if disable_code_size_limit:
        flags["code_size_limit"] = 0
    file = Path(config) if config else find_settings_file(os.environ)
    loaded = load_settings(flags=flags, environ=os.environ, file=file)
    settings = loaded.settings
    gc.disable()  # until the daemon starts: saves a sixth of the import time
    speaks = sys.stdout is not None and sys.stdout.isatty()
    is_terminal = sys.stderr is not None and sys.stderr.isatty()
    output, errors = replace_standard_streams()

    def say(line: str) -> None:
        output.put(printable(line) + "\n")

    progress = Progress((lambda _: None) if settings.log.quiet else say)
    # Imported here: `zvmd start --help` should not load LLVM.
    from node.auth.private import for_owner_only

    with without_rich():
        from node.daemon.run import run_daemon
    from node.daemon.voice import Voice, form_of
    from node.ops.logging import configure_logging, log_thread_ends
    from node.ops.turns import new_loop

    handler = configure_logging(settings.log.level, settings.log.format, errors, is_terminal)
    errors.notice = handler.dropped_line
    log_thread_ends()
    with for_owner_only(), asyncio.Runner(loop_factory=partial(new_loop, settings.log.slow_callback_ms)) as runner:
        voice = Voice(say, output.put, form_of(settings, speaks, os.environ), progress)
        runner.run(run_daemon(settings, loaded.origins, voice, accept_data_loss or 0))


@contextmanager
def without_rich() -> Iterator[None]:
    """structlog imports rich where it finds it, to render tracebacks that are not printed here: 60 ms of a start."""
    hidden = "rich" not in sys.modules
    if hidden:
        sys.modules["rich"] = None  # type: ignore[assignment]  # as documented for import: such a name is not found
    try:
        yield
    finally:
        if hidden:
            del sys.modules["rich"]
