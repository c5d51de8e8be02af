"""First starts over a directory in processes that can be killed, forked from one that has everything loaded.

That one has never opened a store that has threads: a fork would not take them along.
"""

from __future__ import annotations

import os
from multiprocessing import get_context
from pathlib import Path

from storage.io.failpoints import arm
from tests.durability.nodes import LocalNode

SERVER = "tests.golden.first_start"
SEGMENT = 65_536


def start(directory: str, failpoint: str) -> None:
    """Start over a directory, and end without a goodbye."""
    arm(failpoint)
    LocalNode(Path(directory), segment_size_bytes=SEGMENT)
    os._exit(0)


def ended(directory: Path, failpoint: str) -> int:
    """Start there in another process; its exit status, or minus the signal that ended it."""
    context = get_context("forkserver")
    context.set_forkserver_preload([SERVER])
    process = context.Process(target=start, args=(str(directory), failpoint))
    process.start()
    process.join()
    assert process.exitcode is not None
    return process.exitcode

