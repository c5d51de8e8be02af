"""Token and certificate files: made once, private, renewed in time."""

from __future__ import annotations

import datetime
import subprocess
from pathlib import Path

import pytest
import structlog
from cryptography import x509
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from node.auth.certificate import CHECKED_FILE, TlsFiles, usable_certificate
from node.auth.errors import UnusableCertificate, UnusableToken
from node.auth.signing import signer
from node.auth.tls import VALID_DAYS, load_or_create_certificate, needs_rotation, rotate_certificate
from node.auth.tokens import TokenChecker, load_or_create_token
from node.ops import worker

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


def damaged(directory: Path, name: str, damage: str) -> None:
    path, content = directory / name, (directory / name).read_bytes()
    path.unlink()
    if damage == "directory":
        path.mkdir()
    elif damage == "link":
        (directory / "elsewhere").write_bytes(content)
        path.symlink_to(directory / "elsewhere")
    elif damage != "missing":
        path.write_bytes({
            "empty": b"", "garbage": b"nonsense", "cut": content[:100], "doubled": content + content,
            "not UTF-8": b"\xff\xfe" + content, "huge": bytes(10**6), "flipped": content.replace(b"A", b"B", 1),
            "of another node": ANOTHER[name],
        }[damage])  # fmt: skip
        path.chmod(0o600)


DAMAGES = ("missing", "empty", "garbage", "cut", "doubled", "not UTF-8", "huge", "flipped", "of another node", "link")


@pytest.fixture(scope="module", autouse=True)
def _another(tmp_path_factory: pytest.TempPathFactory) -> None:
    directory = tmp_path_factory.mktemp("another")
    usable_certificate(directory, NOW)
    ANOTHER.update((path.name, path.read_bytes()) for path in directory.iterdir())


ANOTHER: dict[str, bytes] = {}


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("name", ["authority.pem", "certificate.pem", "key.pem"])
def test_what_can_be_made_of_the_authoritys_key_is_made_anew(tmp_path: Path, name: str, damage: str) -> None:
    """An authority.pem that was missing or damaged was kept: the node said READY, and no client could connect."""
    first = load_or_create_certificate(tmp_path, NOW)
    pinned = x509.load_pem_x509_certificate(first.authority.read_bytes())
    damaged(tmp_path, name, damage)
    files = load_or_create_certificate(tmp_path, NOW)
    certificate = x509.load_pem_x509_certificate(files.certificate.read_bytes())
    certificate.verify_directly_issued_by(x509.load_pem_x509_certificate(files.authority.read_bytes()))
    certificate.verify_directly_issued_by(pinned)
    key = load_pem_private_key(files.key.read_bytes(), None)
    assert key.public_key() == certificate.public_key()
    assert not any(path.is_symlink() for path in (files.authority, files.certificate, files.key))
    assert load_or_create_certificate(tmp_path, NOW) == files, "the second time there is nothing to do"


@pytest.mark.parametrize("damage", [*DAMAGES[1:4], "huge", "link", "directory"])
def test_a_damaged_key_of_the_authority_is_for_its_owner_to_decide(tmp_path: Path, damage: str) -> None:
    load_or_create_certificate(tmp_path, NOW)
    damaged(tmp_path, "authority-key.pem", damage)
    with pytest.raises(UnusableCertificate, match=r"authority-key\.pem"):
        load_or_create_certificate(tmp_path, NOW)


@pytest.mark.parametrize("name", ["authority-key.pem", "key.pem"])
def test_keys_that_others_can_read(tmp_path: Path, name: str) -> None:
    files = load_or_create_certificate(tmp_path, NOW)
    before = files.key.read_bytes()
    (tmp_path / name).chmod(0o644)
    if name == "key.pem":
        assert load_or_create_certificate(tmp_path, NOW).key.read_bytes() != before
    else:
        with pytest.raises(UnusableCertificate, match="chmod 600"):
            load_or_create_certificate(tmp_path, NOW)


@pytest.mark.parametrize("days", [-20_000, -4_000, -400, -30, -1, 1, 30, 400, 4_000, 36_500, 2_900_000])
def test_certificates_of_another_clock_are_made_anew(tmp_path: Path, days: int) -> None:
    """A first start with the clock ahead left certificates that were not valid yet, and were kept."""
    load_or_create_certificate(tmp_path, NOW + datetime.timedelta(days=days))
    key = (tmp_path / "authority-key.pem").read_bytes()
    files = load_or_create_certificate(tmp_path, NOW)
    authority = x509.load_pem_x509_certificate(files.authority.read_bytes())
    certificate = x509.load_pem_x509_certificate(files.certificate.read_bytes())
    certificate.verify_directly_issued_by(authority)
    for one in (authority, certificate):
        assert one.not_valid_before_utc <= NOW < one.not_valid_after_utc
    assert (tmp_path / "authority-key.pem").read_bytes() == key


@pytest.mark.parametrize("planted", ["token.tmp", "signing.key.tmp", "tls/key.pem.tmp", "tls/authority.pem.tmp"])
def test_nothing_is_written_through_a_link(tmp_path: Path, planted: str) -> None:
    victim = tmp_path / "victim"
    victim.write_text("mine")
    data = tmp_path / "data"
    (data / planted).parent.mkdir(parents=True)
    (data / planted).symlink_to(victim)
    load_or_create_certificate(data / "tls", NOW)
    load_or_create_token(data)
    signer(data)(b"")
    assert victim.read_text() == "mine"
    assert not (data / planted).is_symlink()


def unchecked(directory: Path) -> TlsFiles:
    """The certificate without another process: only what was remembered will do."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(subprocess, "run", lambda *_, **__: pytest.fail("a process was started"))
        return usable_certificate(directory, NOW)


def test_a_good_certificate_is_checked_once(tmp_path: Path) -> None:
    first = usable_certificate(tmp_path, NOW)
    assert load_or_create_certificate(tmp_path, NOW) == first, "it is what would be made here"
    assert unchecked(tmp_path) == first
    assert (tmp_path / CHECKED_FILE).stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("name", ["authority.pem", "certificate.pem", "key.pem", "checked.json"])
def test_a_change_of_any_file_is_looked_at(tmp_path: Path, name: str, damage: str) -> None:
    first = usable_certificate(tmp_path, NOW)
    damaged(tmp_path, name, damage)
    files = usable_certificate(tmp_path, NOW)
    assert load_or_create_certificate(tmp_path, NOW) == files
    certificate = x509.load_pem_x509_certificate(files.certificate.read_bytes())
    certificate.verify_directly_issued_by(x509.load_pem_x509_certificate(files.authority.read_bytes()))
    assert unchecked(tmp_path) == files
    if name == "checked.json":
        assert files == first


def test_what_was_remembered_does_not_outlive_the_certificate(tmp_path: Path) -> None:
    first = usable_certificate(tmp_path, NOW)
    made = first.certificate.read_bytes()
    last, end = (NOW + datetime.timedelta(days=VALID_DAYS - days) for days in (31, 29))
    assert usable_certificate(tmp_path, last).certificate.read_bytes() == made
    renewed = usable_certificate(tmp_path, end).certificate.read_bytes()
    assert renewed != made
    assert usable_certificate(tmp_path, NOW).certificate.read_bytes() != renewed, "it was not valid yet"


def test_other_rules_than_it_was_checked_by(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usable_certificate(tmp_path, NOW)
    (tmp_path / "rules.py").write_text("others")
    monkeypatch.setattr("node.auth.certificate._RULES", tmp_path / "rules.py")
    with pytest.raises(pytest.fail.Exception, match="a process was started"):
        unchecked(tmp_path)


def test_errors_of_the_checking_process_are_those_of_the_check(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usable_certificate(tmp_path, NOW)
    (tmp_path / "authority-key.pem").chmod(0o644)
    with pytest.raises(UnusableCertificate, match="chmod 600"):
        usable_certificate(tmp_path, NOW)
    monkeypatch.setattr("node.auth.certificate.MODULE", "node.no_such_module")
    with pytest.raises(UnusableCertificate, match=r"status 1: .*no_such_module"):
        usable_certificate(tmp_path / "other", NOW)
    monkeypatch.setattr(worker, "command", lambda *_: ["/no/such/program"])
    with pytest.raises(UnusableCertificate, match="No such file"):
        usable_certificate(tmp_path / "other", NOW)


def test_what_the_check_has_to_say_is_logged(tmp_path: Path) -> None:
    usable_certificate(tmp_path, NOW)
    (tmp_path / "authority-key.pem").unlink()
    with structlog.testing.capture_logs() as logged:
        usable_certificate(tmp_path, NOW)
    said = {entry["event"]: entry["log_level"] for entry in logged}
    assert said["the authority's key is missing: clients elsewhere need the new file"] == "warning"
    assert "the certificate is recreated" in said
