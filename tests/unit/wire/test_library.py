"""Which QUIC library the listener has: only that one is imported, and one that cannot be used is told so."""

from __future__ import annotations

import subprocess
import sys
from importlib import metadata

import pytest

from chain.errors import EXIT_CONFIG
from node.daemon.serving import check_listeners
from node.ops.errors import InvalidSetting, LibraryMissing
from node.settings import QuicSettings, Settings, load_settings
from node.wire.library import load_library
from tests.paths import REPO
from tests.unit.wire.listening import LIBRARIES

AIOQUIC = Settings(quic=QuicSettings(library="aioquic"))


@pytest.mark.parametrize("name", LIBRARIES)
def test_only_the_chosen_library_is_imported(name: str) -> None:
    program = (
        "import sys, node.wire.server; from node.wire.library import load_library; "
        f"load_library({name!r}); print([name for name in {LIBRARIES!r} if name in sys.modules])"
    )
    shown = subprocess.run([sys.executable, "-c", program], cwd=REPO, capture_output=True, text=True, check=True)
    assert shown.stdout.strip() == f"[{name!r}]"


def test_an_absent_library_ends_the_start_with_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(name: str) -> str:
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "version", absent)
    with pytest.raises(LibraryMissing, match=r"quic.library = 'aioquic' .*aioquic") as caught:
        check_listeners(AIOQUIC)
    assert caught.value.exit_code == EXIT_CONFIG
    assert "pip install 'zvmd[aioquic]'" in caught.value.hint


def test_a_damaged_library_is_not_imported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "node.wire.aioquic_library", raising=False)
    monkeypatch.setitem(sys.modules, "aioquic.quic.connection", None)
    with pytest.raises(LibraryMissing, match=r"aioquic\.quic\.connection"):
        check_listeners(AIOQUIC)


def test_an_old_library_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metadata, "version", lambda _: "1.3.0.post2")
    with pytest.raises(LibraryMissing, match=r"needs aioquic 1\.7; 1\.3\.0\.post2 is installed"):
        load_library("aioquic")


def test_a_name_of_no_library_is_told_with_those_there_are() -> None:
    with pytest.raises(InvalidSetting, match=r"quic\.library.*msquic.*(qh3|aioquic)"):
        load_settings(flags={}, environ={"ZVMD_QUIC__LIBRARY": "msquic"})
