"""The daemon's standard output and its form: lines at the start, then the transcript."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import NamedTuple

from node.daemon.opening import OpenedChain
from node.daemon.progress import Progress
from node.settings import Settings
from node.transcript.abis import Abis
from node.transcript.artifacts import Artifacts
from node.transcript.entries import Form
from node.transcript.transcript import Transcript


class Voice(NamedTuple):
    """How the daemon prints its lines and its transcript."""

    say: Callable[[str], None]
    """Prints one line."""
    put: Callable[[str], None]
    """Prints whole lines as they are."""
    form: Form | None
    """Form of the transcript; None: it is off until it is switched on."""
    progress: Progress
    """Of the start."""


def form_of(settings: Settings, is_terminal: bool, environ: Mapping[str, str]) -> Form | None:
    """The form of the transcript. Development nodes print one, as anvil and Hardhat do; others only on a terminal.

    It is always printed if the settings name a format.
    """
    wanted = settings.node.dev or is_terminal or settings.log.format != "auto"
    if settings.log.quiet or not wanted:
        return None
    if settings.log.format == "json":
        return "json"
    return "colour" if is_terminal and not environ.get("NO_COLOR") else "text"


def lacking(opened: OpenedChain) -> list[str]:
    """Hints on what a chain without development accounts lacks, and how to get it."""
    lines = []
    if not opened.dev_accounts.addresses:
        funded = any(account.balance for account in opened.genesis.alloc.values())
        lines.append(
            "no accounts: the node holds no keys"
            + ("" if funded else ", and nobody has funds on this chain")
            + "; --dev gives 10 funded accounts, --genesis FILE begins a chain of your own"
        )
    if not opened.cheats:
        lines.append("no development calls (evm_*, anvil_*, hardhat_*): --dev or node.cheats = true allows them")
    return lines


def transcript_of(voice: Voice, settings: Settings, opened: OpenedChain) -> tuple[Transcript, Artifacts]:
    """The transcript of a chain, and the ABIs on disk that it prints names with."""
    artifacts = Artifacts(opened.data_dir, settings.log.abi)
    form = voice.form or ("json" if settings.log.format == "json" else "text")
    transcript = Transcript(
        voice.put,
        form,
        Abis(artifacts.look),
        time.time,
        enabled=voice.form is not None,
        switchable=opened.cheats,
    )
    return transcript, artifacts
