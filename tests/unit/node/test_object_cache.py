"""The object cache hands out only what nobody but its owner could have written, and never fails a caller."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from node.machine import object_cache
from node.machine.object_cache import FileObjectCache, with_shared


def replace_by(make: Callable[[Path], object]) -> Callable[[Path], None]:
    def replace(path: Path) -> None:
        path.rename(path.with_name("elsewhere"))
        make(path)

    return replace


CHANGES: dict[str, Callable[[Path], None]] = {
    "a link": replace_by(lambda path: path.symlink_to("elsewhere")),
    "a pipe": replace_by(os.mkfifo),
    "a directory": replace_by(Path.mkdir),
    "written by a group": lambda path: path.chmod(0o620),
    "written by everybody": lambda path: path.chmod(0o602),
    "missing": Path.unlink,
}


@pytest.fixture
def cache(tmp_path: Path) -> FileObjectCache:
    kept = FileObjectCache(tmp_path / "cache")
    kept.put("key", b"code")
    return kept


def test_what_was_put_is_there_and_private(cache: FileObjectCache, tmp_path: Path) -> None:
    assert cache.get("key") == b"code"
    assert (tmp_path / "cache" / "key").stat().st_mode & 0o777 == 0o600
    assert [path.name for path in (tmp_path / "cache").iterdir()] == ["key"]


@pytest.mark.parametrize("change", CHANGES)
def test_what_others_could_have_put_there_is_refused(cache: FileObjectCache, tmp_path: Path, change: str) -> None:
    CHANGES[change](tmp_path / "cache" / "key")
    assert cache.get("key") is None
    cache.put("key", b"again")
    assert cache.get("key") == (None if change == "a directory" else b"again")


def test_an_object_beyond_the_limit_is_not_read(cache: FileObjectCache, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(object_cache, "OBJECT_BYTES_MAX", 3)
    assert cache.get("key") is None


def test_nothing_is_written_through_a_link(cache: FileObjectCache, tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("mine")
    (tmp_path / "cache" / f"other.{os.getpid()}.tmp").symlink_to(victim)
    cache.put("other", b"code")
    assert victim.read_text() == "mine"
    assert cache.get("other") is None
    cache.put("other", b"code")
    assert cache.get("other") == b"code"


def test_a_cache_that_cannot_be_written_costs_only_the_cache(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    cache = FileObjectCache(tmp_path / "file")
    cache.put("key", b"code")
    assert cache.get("key") is None


def test_nodes_of_a_user_share_what_depends_on_no_chain(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "user"))
    one, other = (FileObjectCache(tmp_path / name) for name in ("one", "other"))
    with_shared(one).put("key", b"code")
    assert one.get("key") == b"code"
    assert other.get("key") is None
    assert with_shared(other).get("key") == b"code"
    assert other.get("key") == b"code"  # copied: it stays when the shared one goes
    assert with_shared(other).get("another") is None


def test_what_is_shared_has_a_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "user"))
    monkeypatch.setattr(object_cache, "SHARED_BYTES_MAX", 10)
    own = FileObjectCache(tmp_path / "own")
    for number in range(4):
        with_shared(own).put(f"key{number}", b"code")
    assert len(list((tmp_path / "user" / "zvmd" / "libraries").iterdir())) == 2
    assert own.get("key0") == b"code"


def test_a_user_without_a_home_shares_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def home() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr(Path, "home", home)
    own = FileObjectCache(tmp_path / "own")
    assert with_shared(own) is own
