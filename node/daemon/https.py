"""The TLS of the HTTP listener while a node runs: which files it is made of, and what happens when they change."""

from __future__ import annotations

import array
import datetime
import fcntl
import socket
import ssl
import struct
from collections.abc import Iterator
from ipaddress import IPv4Address, IPv6Address, ip_address
from pathlib import Path
from typing import Any

import structlog

from node.auth.certificate import NOTHING_MORE, TlsFiles, Wanted
from node.auth.errors import UnusableTlsFile
from node.auth.private import write_private
from node.auth.serving import Paths, ServedTls, check_authorities, digest_of, key_is_exposed, served_tls
from node.doors.rule import GuardRules, parse_host
from node.gateway.link import Security
from node.ops.errors import InvalidSetting
from node.settings import HttpSettings
from node.wire.certificates import PemPair
from zvmd.endpoint import HTTP_CERTIFICATE, HTTP_CLIENT

log = structlog.get_logger(__name__)

WARN_BEFORE = datetime.timedelta(days=14)
WARN_EVERY = datetime.timedelta(days=1)
AUTO = "auto"
SERVED_FILE = "served.pem"
"""The certificate that is served from given files, and the one before it, for clients on this machine."""
INTERNAL = "*.internal"
CONTAINER_HOSTS = ("host.docker.internal", "host.containers.internal")
"""Names by which containers reach the machine they run on, with Docker and with Podman."""
INTERFACES_MAX = 64
_INTERFACES_6, _OF_LINK = Path("/proc/net/if_inet6"), "20"
"""A line an address: in hex, its interface, prefix length, scope; and the scope of addresses of one link."""
_GET_INTERFACES = 0x8912
"""SIOCGIFCONF (netdevice(7)): the IPv4 addresses of all interfaces. A list over netlink is not open to services."""
_INTERFACE = struct.Struct("16s4x4s16x")
"""``struct ifreq`` with an address: a name, and IPv4's ``sockaddr``."""


class HttpTls:
    """Loads what is served, and again when it has changed; keeps what works when new files do not.

    Made in the event loop's thread, then used by one thread at a time.
    """

    def __init__(self, settings: HttpSettings, directory: Path) -> None:
        """``directory`` has the node's own certificates; the settings were checked (`check_https`)."""
        self.mode = settings.tls
        self._settings = settings
        self._directory = directory
        self._served: ServedTls | None = None
        self._security: Security | None = None
        self._problem = ""
        """Why newer files are not used."""
        self.reloads = 0
        """How often changed files were taken into use."""
        self._warned: datetime.datetime | None = None

    @property
    def is_on(self) -> bool:
        """Whether HTTP speaks TLS."""
        return self.mode != "off"

    @property
    def scheme(self) -> str:
        """How the URLs of the listener begin."""
        return "https" if self.is_on else "http"

    @property
    def wanted(self) -> Wanted:
        """What the node's own certificates have to be for this."""
        if not self.is_on:
            return NOTHING_MORE
        client = bool(self._settings.client_authority)
        if self.mode != "auto":
            return Wanted(client=client)
        return Wanted(tuple(_names(self._settings)), tuple(_addresses(self._settings)), client)

    @property
    def announced(self) -> dict[str, str]:
        """What clients on this machine have to know besides the address."""
        known = {HTTP_CERTIFICATE: f"{self._directory.name}/{SERVED_FILE}"} if self.mode == "files" else {}
        if self.is_on and self._settings.client_authority:
            known[HTTP_CLIENT] = f"{self._directory.name}/client.pem"
        return known

    @property
    def given(self) -> PemPair | None:
        """The certificate that HTTP shows, if it is not the node's own."""
        served = self._served
        return PemPair(*served.files) if served is not None and self.mode == "files" else None

    def load(self, own: TlsFiles, now: datetime.datetime) -> ssl.SSLContext | None:
        """The context to begin with, None without TLS. Raises `UnusableTlsFile`, and as `write_private`."""
        if self.mode != "files":
            self._forget_served()
        if not self.is_on:
            return None
        self._use(served_tls(self._paths(own), now))
        assert self._served is not None
        return self._served.context

    def serve(self, security: Security | None) -> None:
        """The listener's TLS, which gets what is loaded from now on."""
        self._security = security

    def look(self, own: TlsFiles, now: datetime.datetime) -> str:
        """Have new connections use changed files if they can be used, and say what is served."""
        served = self._served
        if served is None:
            return "no TLS for HTTP"
        try:
            paths = self._paths(own)
            if digest_of(paths) != served.digest:
                self._use(served_tls(paths, now))
                self.reloads += 1
                log.info("new TLS files are used", path=str(paths.certificate), valid_until=f"{self.not_after:%F}")
            self._tell("")
        except UnusableTlsFile as error:
            self._tell(str(error))
        self._warn(now)
        return self._problem or f"valid until {self.not_after:%F}"

    @property
    def not_after(self) -> datetime.datetime:
        """When the served certificate ends."""
        assert self._served is not None
        return self._served.not_after

    def status(self) -> dict[str, Any] | None:
        """What `zvmd status` shows; None without TLS."""
        security, served = self._security, self._served
        if security is None or served is None:
            return None
        return {
            "mode": self.mode,
            "notAfter": int(served.not_after.timestamp()),
            "expiresSoon": served.not_after - datetime.datetime.now(datetime.UTC) < WARN_BEFORE,
            "clientCertificates": bool(self._settings.client_authority),
            "handshakes": security.completed,
            "failed": security.failed,
            "plain": security.plain,
            "reloads": self.reloads,
            "problem": self._problem or None,
        }

    def _paths(self, own: TlsFiles) -> Paths:
        authorities = _given_authorities(self._settings)
        if self._settings.client_authority:
            authorities = (own.authority, *authorities)  # its own, so that clients on this machine have one too
        pair = _given_pair(self._settings) if self.mode == "files" else (own.certificate, own.key)
        return Paths(*pair, authorities)

    def _use(self, served: ServedTls) -> None:
        if self.mode == "files":
            before = self._served.certificate if self._served is not None else ""
            write_private(self._directory / SERVED_FILE, (served.certificate + before).encode())
            if key_is_exposed(Path(self._settings.tls_key).expanduser()):
                log.warning("every user of this machine can read the key of HTTP's TLS", path=self._settings.tls_key)
        self._served = served
        if self._security is not None:
            self._security.use(served.context)

    def _forget_served(self) -> None:
        """Remove the certificate of files that were given before: nothing serves it any more."""
        path = self._directory / SERVED_FILE
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            log.warning("an unused file cannot be removed", path=str(path), reason=error.strerror)

    def _tell(self, problem: str) -> None:
        if problem and problem != self._problem:
            log.error("new TLS files cannot be used, the old certificate stays", reason=problem)
        self._problem = problem

    def _warn(self, now: datetime.datetime) -> None:
        left = self.not_after - now
        if left < WARN_BEFORE and (self._warned is None or now - self._warned >= WARN_EVERY):
            self._warned = now
            log.warning("the certificate of HTTP ends soon", valid_until=f"{self.not_after:%F %H:%M}")


def check_https(settings: HttpSettings) -> None:
    """Refuse settings that contradict each other, and files that cannot be used, before anything is made.

    Raises `InvalidSetting`, `UnusableTlsFile`.
    """
    given = {name: getattr(settings, name) for name in ("tls_certificate", "tls_key")}
    if settings.tls == "files":
        for name, value in given.items():
            if not value:
                raise InvalidSetting(f"http.tls = 'files' needs http.{name}")
    elif named := [name for name, value in given.items() if value]:
        raise InvalidSetting(f"http.{named[0]} is set, but http.tls = {settings.tls!r} does not use it")
    if settings.client_authority and settings.tls == "off":
        raise InvalidSetting("http.client_authority is set, but http.tls = 'off': only TLS shows certificates")
    authorities = _given_authorities(settings)
    if settings.tls == "files":
        served_tls(Paths(*_given_pair(settings), authorities), datetime.datetime.now(datetime.UTC))
    else:
        check_authorities(authorities)


def _given_pair(settings: HttpSettings) -> tuple[Path, Path]:
    """The certificate and its key that the settings name."""
    return Path(settings.tls_certificate).expanduser(), Path(settings.tls_key).expanduser()


def _given_authorities(settings: HttpSettings) -> tuple[Path, ...]:
    """Authorities of clients besides the node's own."""
    return () if settings.client_authority in ("", AUTO) else (Path(settings.client_authority).expanduser(),)


def _names(settings: HttpSettings) -> Iterator[str]:
    """DNS names by which clients may call the node.

    Not ``*.internal``: a wildcard for all of a top level matches nothing (RFC 9525, 6.3), and service_identity, which
    aioquic uses, refuses a certificate that has one.
    """
    rules = GuardRules.of(settings, False)
    for name in (socket.gethostname().lower(), *rules.hosts, *(CONTAINER_HOSTS if INTERNAL in rules.hosts else ())):
        host = parse_host(name.removeprefix("*."))
        is_for_top_level = name.startswith("*.") and "." not in name.removeprefix("*.")
        if host is not None and not host.is_address and not is_for_top_level:
            yield name


def _addresses(settings: HttpSettings) -> Iterator[str]:
    """IP addresses by which clients may call the node."""
    bound = ip_address(settings.host)
    yield from addresses_of_machine() if bound.is_unspecified else [str(bound)]
    for name in settings.hosts:
        if (host := parse_host(name)) is not None and host.is_address:
            yield host.name


def addresses_of_machine() -> list[str]:
    """The addresses of this machine's interfaces, as far as the system tells, without those of a link only."""
    return [*_addresses_4(), *_addresses_6()]


def _addresses_6() -> list[str]:
    try:
        lines = _INTERFACES_6.read_text("ascii").splitlines()
    except (OSError, ValueError):
        return []
    rows = [line.split() for line in lines[:INTERFACES_MAX]]
    return [str(IPv6Address(bytes.fromhex(row[0]))) for row in rows if row[3] != _OF_LINK]


def _addresses_4() -> list[str]:
    buffer = array.array("B", bytes(_INTERFACE.size * INTERFACES_MAX))
    place, length = buffer.buffer_info()
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
            answer = fcntl.ioctl(any_socket, _GET_INTERFACES, struct.pack("iP", length, place))
    except OSError:
        return []
    filled = memoryview(buffer)[: struct.unpack("iP", answer)[0]]
    return [str(IPv4Address(address)) for _, address in _INTERFACE.iter_unpack(filled)]
