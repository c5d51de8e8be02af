"""HTTP/3 shows the certificate that HTTP was given, and zvmd/1 on the same port the node's own."""

from __future__ import annotations

import datetime
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509.oid import NameOID

from node.wire.certificates import PemPair
from node.wire.library import load_library
from tests.unit.http3.clients import CALL, NOW, Server, connected, head, run
from zvmd.frames import ALPN

Key = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey
KEYS: dict[str, Callable[[], Key]] = {
    "P-256": lambda: ec.generate_private_key(ec.SECP256R1()),
    "P-384": lambda: ec.generate_private_key(ec.SECP384R1()),
    "RSA": lambda: rsa.generate_private_key(65_537, 2_048),
    "Ed25519": ed25519.Ed25519PrivateKey.generate,
}


def certificate(name: str, key: Key, issuer: str, signer: Key, is_authority: bool) -> bytes:
    by = None if isinstance(signer, ed25519.Ed25519PrivateKey) else hashes.SHA256()
    made = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
        .issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, issuer)]))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(NOW - datetime.timedelta(days=1))
        .not_valid_after(NOW + datetime.timedelta(days=1))
        .add_extension(x509.BasicConstraints(is_authority, None), critical=True)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .sign(signer, by)
    )
    return made.public_bytes(serialization.Encoding.PEM)


def issued(place: Path, kind: str = "P-256", ending: bytes = b"\n") -> tuple[PemPair, Path]:
    """A certificate below an authority that is below another one, as the public ones are, and the upper one's file."""
    root, middle, own = KEYS["P-256"](), KEYS["RSA"](), KEYS[kind]()
    place.mkdir()
    (place / "root.pem").write_bytes(certificate("root", root, "root", root, True))
    chain = certificate("node", own, "middle", middle, False) + certificate("middle", middle, "root", root, True)
    form = serialization.PrivateFormat.PKCS8
    key = own.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption())
    pair = PemPair(b"words before it\n" + chain, key)
    return PemPair(*(part.replace(b"\n", ending) for part in pair)), place / "root.pem"


@pytest.mark.parametrize("kind", KEYS)
def test_each_protocol_shows_the_certificate_that_its_clients_trust(library: str, kind: str, tmp_path: Path) -> None:
    given, root = issued(tmp_path / "given", kind, b"\r\n" if kind == "RSA" else b"\n")

    async def work(server: Server) -> None:
        async with connected(server, authority=root) as client:
            assert (await client.ask(head(), CALL)).status == 200
        with pytest.raises(ConnectionError, match="certificate"):
            async with connected(server):
                pass
        sdk = await server.sdk()
        assert await sdk.rpc("eth_chainId") == "0x7a69", "it trusts the node's own authority only"
        await sdk.close()
        async with connected(server, plain=True, alpn=("h3", ALPN)):
            pass  # of both, the node prefers zvmd/1, so it shows its own

    run(tmp_path, library, work, given=given)


def test_new_connections_get_what_is_new(library: str, tmp_path: Path) -> None:
    (first, first_root), (second, second_root) = issued(tmp_path / "a"), issued(tmp_path / "b", "RSA")

    async def work(server: Server) -> None:
        quic = server.listener.library
        tls = server.tls
        async with connected(server, authority=first_root) as old:
            server.listener.use_certificate(tls, {"h3": quic.read_pair(second)})
            async with connected(server, authority=second_root) as new:
                for client in (old, new):
                    assert (await client.ask(head(), CALL)).status == 200
        server.listener.use_certificate(tls)
        async with connected(server) as own:
            assert (await own.ask(head(), CALL)).status == 200

    run(tmp_path, library, work, given=first)


@pytest.mark.parametrize(
    "damaged",
    [PemPair(b"", b""), PemPair(b"words", b"words")],
    ids=["empty", "no PEM"],
)
def test_what_a_library_cannot_use_is_a_value_error(library: str, damaged: PemPair, tmp_path: Path) -> None:
    quic = load_library(library)
    good, _ = issued(tmp_path / "given")
    spoilt = good.key.replace(good.key.splitlines()[1], b"AAAA")
    for pair in (damaged, PemPair(good.certificates, damaged.key), PemPair(good.certificates, spoilt)):
        with pytest.raises(ValueError, match=r"\w"):
            quic.read_pair(pair)
