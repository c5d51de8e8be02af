"""A node whose HTTP speaks TLS: where its files come from, what happens when they change, and what is refused."""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import http.client
import json
import os
import pty
import re
import signal
import ssl
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import pytest
from cryptography.hazmat.primitives import serialization

from node.auth.certificate import Wanted
from node.auth.tls import issue_client_certificate, load_or_create_certificate
from node.daemon.https import addresses_of_machine
from tests.commands import run_command
from tests.crash.forked_daemon import ForkedDaemon, Zygote
from tests.daemon import CHAIN_ID, DaemonFailed, clean_environment
from tests.durability.started import REFUSED, refusal
from tests.paths import REPO
from tests.unit.http3.clients import CALL, connected, head
from zvmd.errors import ConnectionFailed, ZvmdError
from zvmd.http import HttpClient, find_http

NOW = datetime.datetime.now(datetime.UTC)
SECRET = "legal winner thank year wave sausage worth useful legal winner thank yellow"


@pytest.fixture(scope="module")
def zygote(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Zygote]:
    made = Zygote(tmp_path_factory.mktemp("zygote") / "log")
    yield made
    made.close()


class Given:
    """Certificate files of somebody's authority, as ``http.tls_certificate`` and ``http.tls_key`` name them."""

    def __init__(self, place: Path) -> None:
        self.place = place
        self.certificate, self.key = place / "given.pem", place / "given-key.pem"
        self.authority = place / "authority.pem"
        place.mkdir()
        self.write(NOW)

    def write(self, now: datetime.datetime) -> None:
        """Other files, of another authority."""
        made = self.place / f"made-{time.monotonic_ns()}"
        files = load_or_create_certificate(made, now, Wanted(names=("node.example",)))
        for source, target in ((files.key, self.key), (files.certificate, self.certificate)):
            target.write_bytes(source.read_bytes())
            target.chmod(0o600)
        self.authority.write_bytes(files.authority.read_bytes())

    @property
    def settings(self) -> dict[str, str]:
        paths = {"ZVMD_HTTP__TLS_CERTIFICATE": str(self.certificate), "ZVMD_HTTP__TLS_KEY": str(self.key)}
        return {"ZVMD_HTTP__TLS": "files"} | paths


@pytest.fixture
def given(tmp_path: Path) -> Given:
    return Given(tmp_path / "given")


@contextlib.contextmanager
def running(zygote: Zygote, place: Path, environment: Mapping[str, str], *more: str) -> Iterator[ForkedDaemon]:
    daemon = ForkedDaemon(zygote, place / "data", *more, environment=environment)
    try:
        daemon.start()
        yield daemon
        assert daemon.stop() == 0, daemon.log()
    finally:
        daemon.close()


def until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


def local(daemon: ForkedDaemon) -> HttpClient:
    """A client that finds the node by its data directory."""
    return find_http(data_dir=daemon.data_dir, environ={})


def is_trusted(daemon: ForkedDaemon, authority: Path) -> bool:
    """Whether a client that trusts an authority gets an answer from the node."""
    try:
        return HttpClient(f"https://127.0.0.1:{daemon.http_port}", certificate=authority).rpc("eth_chainId") == "0x7a69"
    except ConnectionFailed as error:
        if error.code != "client.certificate":
            raise
        return False


class Place(NamedTuple):
    """Where HTTP/3 is, and the data directory."""

    port: int
    folder: Path


def is_trusted_over_http3(daemon: ForkedDaemon, authority: Path) -> bool:
    """Whether a client of HTTP/3 that trusts an authority gets an answer."""

    async def ask() -> bool:
        place = Place(daemon.quic_port, daemon.data_dir)
        try:
            async with asyncio.timeout(60), connected(place, authority=authority) as client:
                return (await client.ask(head(), CALL)).status == 200
        except ConnectionError:
            return False

    return asyncio.run(ask())


def offers_http3(daemon: ForkedDaemon, authority: Path) -> bool:
    """Whether HTTPS says where HTTP/3 is."""
    context = ssl.create_default_context(cafile=authority)
    connection = http.client.HTTPSConnection("127.0.0.1", daemon.http_port, context=context)
    try:
        connection.request("GET", "/healthz")
        return connection.getresponse().headers["alt-svc"] == f'h3=":{daemon.quic_port}"; ma=3600'
    finally:
        connection.close()


def test_http3_shows_what_https_shows(zygote: Zygote, given: Given, tmp_path: Path) -> None:
    """The given certificate, and after it has changed the new one; the node's own where none is given any more."""
    with running(zygote, tmp_path, given.settings) as it:
        first = Path(given.authority.rename(tmp_path / "first.pem"))
        own = it.data_dir / "tls" / "authority.pem"
        assert offers_http3(it, first)
        assert [is_trusted_over_http3(it, authority) for authority in (first, own)] == [True, False]
        assert it.call_over_quic("eth_chainId") == "0x7a69", "zvmd/1 shows the node's own"
        given.write(NOW)
        until(lambda: is_trusted(it, given.authority))
        until(lambda: is_trusted_over_http3(it, given.authority))
        assert not is_trusted_over_http3(it, first)
        assert offers_http3(it, given.authority)
        assert it.call_over_quic("eth_chainId") == "0x7a69"
        shown = run_command("status", "--http", "--data-dir", str(it.data_dir)).stdout
        assert re.search(r"HTTP/3: \d+ connections, [1-9]\d* requests", shown), shown
    assert (tmp_path / "data" / "tls" / "served.pem").exists()
    with running(zygote, tmp_path, {}, "--http-tls", "auto") as it:
        assert is_trusted_over_http3(it, it.data_dir / "tls" / "authority.pem")
        assert not (it.data_dir / "tls" / "served.pem").exists()


def test_the_nodes_own_certificate(zygote: Zygote, tmp_path: Path) -> None:
    names = {"ZVMD_HTTP__HOSTS": "rpc.example.com,10.9.8.7,<local>"}
    with running(zygote, tmp_path, names, "--http-tls", "auto") as it:
        assert it.ready_line.startswith(f"READY https://127.0.0.1:{it.http_port} ")
        authority = it.data_dir / "tls" / "authority.pem"
        status = local(it).rpc("zvmd_status")["tls"]
        assert (status["mode"], status["problem"], status["expiresSoon"]) == ("auto", None, False)
        url = f"https://localhost:{it.http_port}"
        assert HttpClient(url, certificate=authority).rpc("eth_chainId") == "0x7a69"
        with pytest.raises(ConnectionFailed) as untrusted:
            HttpClient(url).rpc("eth_chainId")
        assert untrusted.value.code == "client.certificate"
        with pytest.raises(ZvmdError) as plain:
            HttpClient(f"http://localhost:{it.http_port}").rpc("eth_chainId")
        assert plain.value.code == "http.tls"
        shown = run_command("status", "--http", "--data-dir", str(it.data_dir))
        assert shown.returncode == 0, shown.stderr
        assert "tls         auto, until 20" in shown.stdout
        for more in (("--authority", str(authority)), ("--data-dir", str(it.data_dir))):
            done = run_command("rpc", "eth_chainId", "--url", url, *more)
            assert done.stdout == "0x7a69\n", done.stderr
        said = subprocess.run(
            ["openssl", "x509", "-in", it.data_dir / "tls" / "certificate.pem", "-noout", "-ext", "subjectAltName"],
            capture_output=True, text=True, check=True,
        ).stdout  # fmt: skip
        for name in ("DNS:rpc.example.com", "IP Address:10.9.8.7", "DNS:localhost", "IP Address:127.0.0.1"):
            assert name in said
        assert it.call_over_quic("eth_chainId") == "0x7a69", "QUIC has the same certificate"
    assert "127.0.0.1" in addresses_of_machine()


def test_given_files_are_read_again_when_they_change(zygote: Zygote, given: Given, tmp_path: Path) -> None:
    """On SIGHUP, by which an operator says so; broken ones leave what there is in use, and are told."""
    with running(zygote, tmp_path, given.settings) as it:
        client = local(it)
        assert client.rpc("eth_chainId") == "0x7a69", "a client here trusts what is served, whatever its names"
        first = Path(given.authority.rename(tmp_path / "first.pem"))
        assert is_trusted(it, first)
        given.certificate.write_text("garbage")
        os.kill(it.pid, signal.SIGHUP)
        until(lambda: local(it).rpc("zvmd_status")["tls"]["problem"] is not None)
        assert "given.pem holds no certificate" in local(it).rpc("zvmd_status")["tls"]["problem"]
        assert is_trusted(it, first)
        given.write(NOW - datetime.timedelta(days=400))
        os.kill(it.pid, signal.SIGHUP)
        until(lambda: "is valid from" in str(local(it).rpc("zvmd_status")["tls"]["problem"]))
        given.write(NOW - datetime.timedelta(days=390))
        os.kill(it.pid, signal.SIGHUP)
        until(lambda: local(it).rpc("zvmd_status")["tls"]["reloads"] == 1)
        status = local(it).rpc("zvmd_status")["tls"]
        assert (status["problem"], status["expiresSoon"]) == (None, True)
        assert is_trusted(it, given.authority)
        assert not is_trusted(it, first)
    log = it.log(20_000)
    assert log.count("new TLS files cannot be used, the old certificate stays") == 2
    assert "the certificate of HTTP ends soon" in log


def test_changed_files_are_noticed_without_being_told(zygote: Zygote, given: Given, tmp_path: Path) -> None:
    with running(zygote, tmp_path, given.settings) as it:
        given.write(NOW)
        until(lambda: is_trusted(it, given.authority))


def refused(zygote: Zygote, place: Path, environment: Mapping[str, str], *arguments: str) -> str:
    """What a start says that ends with 78."""
    daemon = ForkedDaemon(zygote, place / "data", *arguments, environment=environment)
    try:
        with pytest.raises(DaemonFailed) as failed:
            daemon.start()
        assert refusal(daemon, failed.value) == REFUSED
        return daemon.log()
    finally:
        daemon.close()


def encrypted(given: Given) -> None:
    key = serialization.load_pem_private_key(given.key.read_bytes(), None)
    scheme = serialization.BestAvailableEncryption(b"passphrase")
    form = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8)
    given.key.write_bytes(key.private_bytes(*form, scheme))


DAMAGES: dict[str, tuple[Callable[[Given], object], str]] = {
    "no certificate": (lambda it: it.certificate.unlink(), "given.pem: No such file"),
    "no key": (lambda it: it.key.unlink(), "given-key.pem: No such file"),
    "an empty certificate": (lambda it: it.certificate.write_bytes(b""), "holds no certificate in PEM form"),
    "a key as certificate": (lambda it: it.certificate.write_bytes(it.key.read_bytes()), "holds no certificate"),
    "a certificate as key": (lambda it: it.key.write_bytes(it.certificate.read_bytes()), "given-key.pem"),
    "a cut certificate": (
        lambda it: it.certificate.write_bytes(
            it.certificate.read_bytes()[:100] + b"\n-----END CERTIFICATE-----\n"), "given.pem",
    ),
    "another's key": (lambda it: it.key.write_bytes(another(it)), "the key is not that of the certificate"),
    "an encrypted key": (encrypted, "auth.encrypted_key"),
    "a folder": (lambda it: (it.key.unlink(), it.key.mkdir()), "given-key.pem: Is a directory"),
    "a huge file": (lambda it: it.certificate.write_bytes(bytes(10**6)), "larger than"),
    "an ended certificate": (lambda it: it.write(NOW - datetime.timedelta(days=500)), "is valid from"),
    "one of tomorrow": (lambda it: it.write(NOW + datetime.timedelta(days=1)), "is valid from"),
}  # fmt: skip


def another(given: Given) -> bytes:
    return load_or_create_certificate(given.place / "another", NOW).key.read_bytes()


@pytest.mark.parametrize("damage", DAMAGES)
def test_files_that_cannot_be_used_end_the_start(zygote: Zygote, given: Given, tmp_path: Path, damage: str) -> None:
    change, told = DAMAGES[damage]
    change(given)
    assert told in refused(zygote, tmp_path, given.settings)


@pytest.mark.parametrize(
    ("environment", "told"),
    [
        ({"ZVMD_HTTP__TLS": "files"}, "needs http.tls_certificate"),
        ({"ZVMD_HTTP__TLS_KEY": "/k"}, "http.tls_key is set"),
        ({"ZVMD_HTTP__TLS": "auto", "ZVMD_HTTP__TLS_CERTIFICATE": "/c"}, "http.tls_certificate is set"),
        ({"ZVMD_HTTP__CLIENT_AUTHORITY": "auto"}, "http.client_authority is set"),
        ({"ZVMD_HTTP__TLS": "auto", "ZVMD_HTTP__CLIENT_AUTHORITY": "/no/such/file"}, "/no/such/file: No such file"),
        ({"ZVMD_HTTP__TLS": "auto", "ZVMD_HTTP__CLIENT_AUTHORITY": "/dev/null"}, "/dev/null"),
    ],
)
def test_settings_that_contradict_each_other(
    zygote: Zygote, tmp_path: Path, environment: dict[str, str], told: str
) -> None:
    assert told in refused(zygote, tmp_path, environment)


def test_without_tls_only_a_public_chain_listens_elsewhere(zygote: Zygote, tmp_path: Path) -> None:
    said = refused(zygote, tmp_path, {"ZVMD_NODE__MNEMONIC": SECRET}, "--http-host", "0.0.0.0")
    assert "error[auth.bind]" in said
    assert "--http-tls" in said


def test_elsewhere_on_a_chain_of_its_own_everybody_needs_a_token(zygote: Zygote, tmp_path: Path) -> None:
    """Also who seems to be on this machine: a port that is forwarded makes everybody look so."""
    own = {"ZVMD_NODE__MNEMONIC": SECRET, "ZVMD_HTTP__ORIGINS": "https://app.example"}
    with running(zygote, tmp_path, own, "--http-host", "0.0.0.0", "--http-tls", "auto") as it:
        authority, url = it.data_dir / "tls" / "authority.pem", f"https://localhost:{it.http_port}"
        token = (it.data_dir / "token").read_text().strip()
        with pytest.raises(ZvmdError) as refused_call:
            HttpClient(url, certificate=authority).rpc("eth_chainId")
        assert refused_call.value.code == "http.token_needed"
        with pytest.raises(ZvmdError) as wrong:
            HttpClient(url, "00" * 32, certificate=authority).rpc("eth_chainId")
        assert wrong.value.code == "http.token"
        assert HttpClient(url, token, certificate=authority).rpc("zvmd_status")["chainId"] == CHAIN_ID
        assert local(it).rpc("eth_chainId") == "0x7a69", "who reads the data directory has the token"
        context = ssl.create_default_context(cafile=authority)
        connection = http.client.HTTPSConnection("localhost", it.http_port, context=context, timeout=60)
        asked = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "authorization"}
        for origin, status in (("https://app.example", 204), ("https://other.example", 403)):
            connection.request("OPTIONS", "/", headers={"Origin": origin} | asked)
            answer = connection.getresponse()
            assert answer.status == status
            answer.read()
        connection.request("GET", "/healthz")
        answer = connection.getresponse()
        assert (answer.status, answer.getheader("www-authenticate")) == (401, "Bearer")
        connection.close()
        assert "is open to every machine" not in it.log()


def test_certificates_of_clients(zygote: Zygote, tmp_path: Path) -> None:
    with running(zygote, tmp_path, {"ZVMD_HTTP__CLIENT_AUTHORITY": "auto"}, "--http-tls", "auto") as it:
        assert local(it).rpc("zvmd_status")["tls"]["clientCertificates"] is True
        authority, url = it.data_dir / "tls" / "authority.pem", f"https://127.0.0.1:{it.http_port}"
        with pytest.raises(ConnectionFailed, match=r"certificate|closed|reset|EOF"):
            HttpClient(url, certificate=authority).rpc("eth_chainId")
        command = ("certificate", "client", "alice", "--out", str(tmp_path), "--data-dir", str(it.data_dir))
        made = run_command(*command)
        assert made.returncode == 0, made.stderr
        assert run_command(*command).returncode != 0, "it is not written over"
        file = tmp_path / "alice.pem"
        assert file.stat().st_mode & 0o777 == 0o600
        assert HttpClient(url, certificate=authority, client_certificate=file).rpc("eth_chainId") == "0x7a69"
        options = ("--authority", str(authority), "--client-certificate", str(file))
        assert run_command("rpc", "eth_chainId", "--url", url, *options).stdout == "0x7a69\n"
        other = load_or_create_certificate(tmp_path / "other", NOW).certificate.parent
        file.write_bytes(issue_client_certificate(other, "alice", NOW, 30))
        with pytest.raises(ConnectionFailed):
            HttpClient(url, certificate=authority, client_certificate=file).rpc("eth_chainId")
        assert run_command("status", "--http", "--data-dir", str(it.data_dir)).returncode == 0


def test_a_certificate_gives_the_rights_of_its_entry_and_no_others(zygote: Zygote, tmp_path: Path) -> None:
    own = {"ZVMD_NODE__MNEMONIC": SECRET, "ZVMD_HTTP__CLIENT_AUTHORITY": "auto"}
    with running(zygote, tmp_path, own, "--http-host", "0.0.0.0", "--http-tls", "auto") as it:
        authority, url, link = it.data_dir / "tls" / "authority.pem", f"https://localhost:{it.http_port}", it.data_dir
        for name in ("alice", "bob"):
            command = ("certificate", "client", name, "--out", str(tmp_path), "--data-dir", str(link))
            assert run_command(*command).returncode == 0
        alice, bob = (
            HttpClient(url, certificate=authority, client_certificate=tmp_path / f"{name}.pem")
            for name in ("alice", "bob")
        )
        bind = ("token", "create", "alice", "--scope", "read", "--certificate", str(tmp_path / "alice.pem"))
        bound = run_command(*bind, "--data-dir", str(link))
        assert bound.returncode == 0, bound.stderr
        assert alice.rpc("eth_chainId") == "0x7a69"
        with pytest.raises(ZvmdError, match="scope develop"):
            alice.rpc("evm_mine")
        with pytest.raises(ZvmdError) as unknown:
            bob.rpc("eth_chainId")
        assert unknown.value.code == "http.token_needed"
        assert local(it).rpc("eth_chainId") == "0x7a69"
        assert run_command("token", "revoke", "alice", "--data-dir", str(link)).returncode == 0
        with pytest.raises(ZvmdError) as revoked:
            alice.rpc("eth_chainId")
        assert revoked.value.code == "http.token_needed"


def test_a_client_certificate_does_not_serve_and_a_wrong_one_is_told(tmp_path: Path) -> None:
    for content in ("", "garbage", "-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----\n"):
        (tmp_path / "client.pem").write_text(content)
        with pytest.raises(ConnectionFailed) as unusable:
            HttpClient("https://127.0.0.1:1", client_certificate=tmp_path / "client.pem")
        assert unusable.value.code == "client.certificate"
    with pytest.raises(ConnectionFailed):
        HttpClient("https://127.0.0.1:1", certificate=tmp_path / "missing.pem")


def test_closing_the_terminal_stops_a_node_and_sighup_alone_does_not(tmp_path: Path) -> None:
    """A shell passes on the SIGHUP of its closed terminal; an operator sends one to have files read again."""
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "node.cli.main", "start", "--dev", "--data-dir", str(tmp_path / "d"), "-q"]
    script = (
        "import fcntl, os, sys, termios; os.setsid(); fcntl.ioctl(0, termios.TIOCSCTTY, 0);"
        "os.execv(sys.argv[1], sys.argv[1:])"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", script, *command, "--http-port", "0", "--quic-port", "0"],
        stdin=theirs, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
        env=clean_environment() | {"PYTHONPATH": str(REPO)},
    )  # fmt: skip
    os.close(theirs)
    try:
        assert process.stdout is not None
        assert any(line.startswith("READY") for line in process.stdout)
        url = json.loads((tmp_path / "d" / "endpoints.json").read_text())["http"]
        os.kill(process.pid, signal.SIGHUP)
        done = until_reloaded(url)
        assert done["runs"] >= 1
        os.close(ours)
        assert process.wait(60) == 0
    finally:
        process.kill()
        process.wait()


def until_reloaded(url: str) -> dict[str, int]:
    """The job that reads certificates again, once it has run: its own time comes a minute after the start."""
    end = time.monotonic() + 50
    while True:
        jobs = HttpClient(url).rpc("zvmd_status")["jobs"]
        (job,) = [job for job in jobs if job["name"] == "certificate-rotation"]
        if job["runs"]:
            return dict(job)
        assert time.monotonic() < end
        time.sleep(0.02)


def test_the_authority_key_is_read_by_nobody_else(zygote: Zygote, tmp_path: Path) -> None:
    with running(zygote, tmp_path, {"ZVMD_HTTP__CLIENT_AUTHORITY": "auto"}, "--http-tls", "auto") as it:
        modes = {path.name: path.stat().st_mode & 0o777 for path in (it.data_dir / "tls").iterdir()}
    assert set(modes.values()) == {0o600}
    assert "client.pem" in modes
