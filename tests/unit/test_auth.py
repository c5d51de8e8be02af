"""Token and certificate files: made once, private, renewed in time."""

from __future__ import annotations

import datetime
from pathlib import Path

import pytest
from cryptography import x509

from node.auth.errors import UnusableCertificate, UnusableToken
from node.auth.tls import VALID_DAYS, load_or_create_certificate, needs_rotation, rotate_certificate
from node.auth.tokens import TokenChecker, load_or_create_token

NOW = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)


def test_the_token_is_made_once_and_private(tmp_path: Path) -> None:
    token = load_or_create_token(tmp_path)
    assert len(token) == 64
    assert load_or_create_token(tmp_path) == token
    assert (tmp_path / "token").stat().st_mode & 0o777 == 0o600
    assert TokenChecker(token)(token.encode())
    assert not TokenChecker(token)(b"")
    assert not TokenChecker(token)(token.upper() + "x")


def test_a_token_that_cannot_be_trusted_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "token"
    path.write_text("short")
    path.chmod(0o600)
    with pytest.raises(UnusableToken):
        load_or_create_token(tmp_path)
    path.write_text("ab" * 32)
    path.chmod(0o644)
    with pytest.raises(UnusableToken):
        load_or_create_token(tmp_path)


def test_the_certificate_is_kept_until_it_ends_and_its_authority_longer(tmp_path: Path) -> None:
    first = load_or_create_certificate(tmp_path, NOW)
    assert [path.stat().st_mode & 0o777 for path in (first.key, tmp_path / "authority-key.pem")] == [0o600] * 2
    made, authority = first.certificate.read_bytes(), first.authority.read_bytes()
    later = NOW + datetime.timedelta(days=VALID_DAYS - 31)
    assert load_or_create_certificate(tmp_path, later).certificate.read_bytes() == made
    end = NOW + datetime.timedelta(days=VALID_DAYS - 29)
    assert needs_rotation(first, end)
    renewed = load_or_create_certificate(tmp_path, end)
    assert renewed.certificate.read_bytes() != made
    assert renewed.authority.read_bytes() == authority
    issued = x509.load_pem_x509_certificate(renewed.certificate.read_bytes())
    issued.verify_directly_issued_by(x509.load_pem_x509_certificate(authority))


def test_a_rotation_cut_off_between_key_and_certificate_is_finished(tmp_path: Path) -> None:
    first = load_or_create_certificate(tmp_path / "a", NOW)
    other = rotate_certificate(tmp_path / "b", NOW)
    first.key.write_bytes(other.key.read_bytes())
    again = load_or_create_certificate(tmp_path / "a", NOW)
    assert again.key.read_bytes() != other.key.read_bytes()


def test_unreadable_files_are_named(tmp_path: Path) -> None:
    files = load_or_create_certificate(tmp_path, NOW)
    files.certificate.write_text("nonsense")
    with pytest.raises(UnusableCertificate):
        load_or_create_certificate(tmp_path, NOW)
