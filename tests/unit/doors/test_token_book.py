"""Tokens on disk: what is kept of them, which are valid, what is refused, and that damage lets nobody in."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from node.auth.errors import UnusableTokens
from node.auth.private import FILE_BYTES_MAX
from node.doors.errors import TokenRefused, UnknownToken
from node.doors.token_book import (
    TOKENS_FILE,
    TOKENS_MAX,
    TokenBook,
    TokenWish,
    is_mistyped,
    make_token,
    scopes_of,
    wish_of,
)
from node.rpc.registry import Scope
from storage.errors import StorageFull

NOW = 1_800_000_000.0
READ = (Scope.READ,)


def made(book: TokenBook, name: str = "ci", **wish: Any) -> str:
    return book.create(name, READ, TokenWish(**wish), NOW)[1]


def test_a_token_is_found_again_after_a_restart_and_its_secret_is_nowhere(tmp_path: Path) -> None:
    book = TokenBook.read(tmp_path)
    entry, secret = book.create("ci", (Scope.SEND, Scope.READ), TokenWish(connections=2), NOW)
    again = TokenBook.read(tmp_path)
    assert again.of_token(secret, NOW) == entry
    assert entry.scopes == (Scope.READ, Scope.SEND)
    path = tmp_path / TOKENS_FILE
    assert path.stat().st_mode & 0o777 == 0o600
    assert secret not in path.read_text()
    assert secret[5:20] not in path.read_text()
    for wrong in ("", secret[:-1], secret + "a", secret.upper(), secret[5:], " " + secret, make_token(bytes(32))):
        assert again.of_token(wrong, NOW) is None
    assert [each.name for each in tmp_path.iterdir()] == [TOKENS_FILE]


def test_a_token_is_found_by_scanners_and_a_typo_is_told() -> None:
    token = make_token(bytes(range(32)))
    assert re.fullmatch("zvmd_[a-z2-7]{58}", token)
    assert not is_mistyped(token)
    for at in range(5, len(token)):
        other = "b" if token[at] == "a" else "a"
        assert is_mistyped(token[:at] + other + token[at + 1 :]), at
    assert is_mistyped(token[:-1])
    assert is_mistyped("zvmd_")
    assert not is_mistyped("ab" * 32)


def test_tokens_expire(tmp_path: Path) -> None:
    book = TokenBook.read(tmp_path)
    secret = made(book, expires_in=60)
    assert book.of_token(secret, NOW + 59.9) is not None
    assert book.of_token(secret, NOW + 60) is None
    book.create("ci", READ, TokenWish(), NOW + 60)
    assert len(book.entries) == 1, "the name is free again, and the expired one is gone"


def test_a_revoked_token_is_gone(tmp_path: Path) -> None:
    book = TokenBook.read(tmp_path)
    first, second = made(book, "first"), made(book, "second")
    book.revoke("first")
    assert book.of_token(first, NOW) is None
    book.revoke(book.entries[0].id)
    assert TokenBook.read(tmp_path).of_token(second, NOW) is None
    for unknown in ("first", "", "0" * 8):
        with pytest.raises(UnknownToken):
            book.revoke(unknown)


def test_a_certificate_has_an_entry_without_a_token(tmp_path: Path) -> None:
    book = TokenBook.read(tmp_path)
    digest = "a665a45920422f9d417e4867efdc4fb8a04a1f3fff1fa07e998e86f7f7a27ae3"  # of b"123"
    entry, secret = book.create("machine", READ, TokenWish(certificate_sha256=digest, expires_in=5), NOW)
    assert secret == ""
    assert book.of_certificate(b"123", NOW) == entry
    assert book.of_certificate(b"124", NOW) is None
    assert book.of_certificate(b"123", NOW + 5) is None
    assert book.of_token("", NOW) is None
    with pytest.raises(TokenRefused, match="another token"):
        book.create("again", READ, TokenWish(certificate_sha256=digest), NOW)


@pytest.mark.parametrize("name", ["", "a b", "a\n", "\x1b[2J", "ä", "a" * 65, "-a", ".", "deadbeef", "ci"])
def test_names_that_are_refused(name: str, tmp_path: Path) -> None:
    book = TokenBook.read(tmp_path)
    made(book)
    before = (tmp_path / TOKENS_FILE).read_bytes()
    with pytest.raises(TokenRefused):
        made(book, name)
    assert (tmp_path / TOKENS_FILE).read_bytes() == before


def test_wishes_that_are_refused(tmp_path: Path) -> None:
    with pytest.raises(TokenRefused, match="scope"):
        TokenBook.read(tmp_path).create("a", (), TokenWish(), NOW)
    for options in (
        {"expiresIn": 0}, {"expiresIn": -1}, {"expiresIn": 10**12}, {"expiresIn": "1d"}, {"requestsPerSecond": 0},
        {"connections": 10**9}, {"certificateSha256": "x"}, {"other": 1}, [1], "a",
    ):  # fmt: skip
        with pytest.raises(TokenRefused):
            wish_of(options)
    for scopes in (["Read"], [None], ["read", "everything"], [["read"]]):
        with pytest.raises(TokenRefused, match="not a scope"):
            scopes_of(scopes)


def test_the_most_tokens_there_may_be_fit_into_the_file(tmp_path: Path) -> None:
    book = TokenBook.read(tmp_path)
    every = {"expires_in": 10**8, "requests_per_second": 10**6, "connections": 65_536}
    for number in range(TOKENS_MAX):
        book.create(f"{number:064}", tuple(Scope), TokenWish(**every), NOW)
    assert (tmp_path / TOKENS_FILE).stat().st_size < FILE_BYTES_MAX
    assert len(TokenBook.read(tmp_path).entries) == TOKENS_MAX
    with pytest.raises(TokenRefused, match="most"):
        made(book)


def entry(**changes: Any) -> dict[str, Any]:
    whole = {"id": "0" * 8, "name": "a", "scopes": ["read"], "created": 1, "sha256": "0" * 64}
    return {key: value for key, value in (whole | changes).items() if value is not ...}


DAMAGED = {
    "empty": b"", "half": b'{"version": 1, "tok', "list": b"[]",
    "not UTF-8": b'{"version": 1, "tokens": [], "a\xff": 1}',
    "deep": b"[" * 30_000, "another version": b'{"version": 2, "tokens": []}', "no version": b'{"tokens": []}',
    "long": b'{"version": 1, "tokens": []}' + b" " * FILE_BYTES_MAX,
} | {
    name: json.dumps({"version": 1, "tokens": tokens}).encode()
    for name, tokens in {
        "unknown field": [entry(admin=True)], "unknown scope": [entry(scopes=["everything"])],
        "no scopes": [entry(scopes=...)], "bad digest": [entry(sha256="0" * 63)], "bad id": [entry(id="x")],
        "bad name": [entry(name="a b")], "two of an id": [entry(), entry(name="b")],
        "two of a name": [entry(), entry(id="1" * 8)], "negative end": [entry(expires=-1)],
        "too many": [entry(id=f"{n:08x}", name=f"n{n}") for n in range(TOKENS_MAX + 1)],
    }.items()
}  # fmt: skip


@pytest.mark.parametrize("damage", DAMAGED)
def test_a_damaged_file_is_refused(damage: str, tmp_path: Path) -> None:
    path = tmp_path / TOKENS_FILE
    path.write_bytes(DAMAGED[damage])
    path.chmod(0o600)
    with pytest.raises(UnusableTokens) as caught:
        TokenBook.read(tmp_path)
    assert caught.value.exit_code == 78
    assert path.read_bytes() == DAMAGED[damage]


def test_a_file_that_others_can_read_or_that_is_a_link_is_refused(tmp_path: Path) -> None:
    path, elsewhere = tmp_path / TOKENS_FILE, tmp_path / "elsewhere"
    made(TokenBook.read(tmp_path))
    path.chmod(0o640)
    with pytest.raises(UnusableTokens, match="chmod 600"):
        TokenBook.read(tmp_path)
    path.chmod(0o600)
    path.rename(elsewhere)
    path.symlink_to(elsewhere)
    with pytest.raises(UnusableTokens):
        TokenBook.read(tmp_path)
    path.unlink()
    path.mkdir()
    with pytest.raises(UnusableTokens):
        TokenBook.read(tmp_path)


def test_what_cannot_be_written_is_not_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    book = TokenBook.read(tmp_path)
    secret = made(book)

    def full(*_: object) -> None:
        raise StorageFull("no space")

    monkeypatch.setattr("node.doors.token_book.write_private", full)
    for change in (lambda: book.revoke("ci"), lambda: made(book, "other")):
        with pytest.raises(StorageFull):
            change()
    assert book.of_token(secret, NOW) is not None
    assert [entry.name for entry in book.entries] == ["ci"]
