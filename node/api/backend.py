"""All protocols of `node.api` in one, for code that takes a single object."""

from __future__ import annotations

from typing import Any, Protocol

from node.api.chain import ChainReader
from node.api.development import DevelopmentControls
from node.api.simulation import Simulator
from node.api.submission import Submitter


class Backend(ChainReader, Simulator, Submitter, DevelopmentControls, Protocol):
    """A running node."""

    @property
    def client_version(self) -> str:
        """Like ``zvmd/v0.1.0/linux-x86_64/python3.11``."""

    @property
    def web3_version(self) -> str:
        """What ``web3_clientVersion`` answers."""

    def status(self) -> dict[str, Any]:
        """For ``zvmd_status``, JSON-ready: counters, positions of head, log, checkpoint and index."""
