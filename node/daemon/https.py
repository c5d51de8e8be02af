"""The TLS of the HTTP listener while a node runs: which files it is made of, and what happens when they change."""

from __future__ import annotations

import array
import datetime
import fcntl
import socket
import ssl
import struct
from collections.abc import Callable, Iterator
from ipaddress import IPv4Address, ip_address
from pathlib import Path
from typing import Any

import structlog

from node.auth.certificate import NOTHING_MORE, TlsFiles, Wanted
from node.auth.errors import UnusableTlsFile
from node.auth.private import write_private
from node.auth.serving import Paths, ServedTls, digest_of, key_is_exposed, served_tls
from node.doors.rule import GuardRules, parse_host
from node.gateway.link import Security
from node.ops.errors import InvalidSetting
from node.settings import HttpSettings
from zvmd.endpoint import HTTP_CERTIFICATE, HTTP_CLIENT

log = structlog.get_logger(__name__)

WARN_BEFORE = datetime.timedelta(days=14)
WARN_EVERY = datetime.timedelta(days=1)
AUTO = "auto"
SERVED_FILE = "http.pem"
"""The certificate that is served from given files, and the one before it, for clients on this machine."""
INTERNAL = "*.internal"
CONTAINER_HOSTS = ("host.docker.internal", "host.containers.internal")
"""Names by which containers reach the machine they run on, with Docker and with Podman."""
INTERFACES_MAX = 64
_GET_INTERFACES = 0x8912
"""SIOCGIFCONF (netdevice(7)): the IPv4 addresses of all interfaces. A list over netlink is not open to services."""
_INTERFACE = struct.Struct("16s4x4s16x")
"""``struct ifreq`` with an address: a name, and IPv4's ``sockaddr``."""


class HttpTls:
    """Loads what is served, and again when it has changed; keeps what works when new files do not.

    Made in the event loop's thread, then used by one thread at a time.
    """

    def __init__(self, settings: HttpSettings, directory: Path) -> None:
        """``directory`` has the node's own certificates. Raises `InvalidSetting`."""
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
        _check(settings)

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

    def load(self, own: TlsFiles, now: datetime.datetime) -> ssl.SSLContext | None:
        """The context to begin with, None without TLS. Raises `UnusableTlsFile`, and as `write_private`."""
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
        settings, authorities = self._settings, ()
        if settings.client_authority:
            given = () if settings.client_authority == AUTO else (Path(settings.client_authority).expanduser(),)
            authorities = (own.authority, *given)  # its own, so that clients on this machine have a certificate too
        if self.mode == "files":
            certificate, key = (Path(name).expanduser() for name in (settings.tls_certificate, settings.tls_key))
            return Paths(certificate, key, authorities)
        return Paths(own.certificate, own.key, authorities)

    def _use(self, served: ServedTls) -> None:
        if self.mode == "files":
            before = self._served.certificate if self._served is not None else ""
            write_private(self._directory / SERVED_FILE, (served.certificate + before).encode())
            if key_is_exposed(Path(self._settings.tls_key).expanduser()):
                log.warning("every user of this machine can read the key of HTTP's TLS", path=self._settings.tls_key)
        self._served = served
        if self._security is not None:
            self._security.use(served.context)

    def _tell(self, problem: str) -> None:
        if problem and problem != self._problem:
            log.error("new TLS files cannot be used, the old certificate stays", reason=problem)
        self._problem = problem

    def _warn(self, now: datetime.datetime) -> None:
        left = self.not_after - now
        if left < WARN_BEFORE and (self._warned is None or now - self._warned >= WARN_EVERY):
            self._warned = now
            log.warning("the certificate of HTTP ends soon", valid_until=f"{self.not_after:%F %H:%M}")


def _check(settings: HttpSettings) -> None:
    """Refuse settings that contradict each other. Raises `InvalidSetting`."""
    given = {name: getattr(settings, name) for name in ("tls_certificate", "tls_key")}
    if settings.tls == "files":
        for name, value in given.items():
            if not value:
                raise InvalidSetting(f"http.tls = 'files' needs http.{name}")
    elif named := [name for name, value in given.items() if value]:
        raise InvalidSetting(f"http.{named[0]} is set, but http.tls = {settings.tls!r} does not use it")
    if settings.client_authority and settings.tls == "off":
        raise InvalidSetting("http.client_authority is set, but http.tls = 'off': only TLS shows certificates")


def _names(settings: HttpSettings) -> Iterator[str]:
    """DNS names by which clients may call the node."""
    rules = GuardRules.of(settings, False)
    for name in (socket.gethostname().lower(), *rules.hosts, *(CONTAINER_HOSTS if INTERNAL in rules.hosts else ())):
        host = parse_host(name.removeprefix("*."))
        if host is not None and not host.is_address:
            yield name


def _addresses(settings: HttpSettings) -> Iterator[str]:
    """IP addresses by which clients may call the node."""
    bound = ip_address(settings.host)
    yield from addresses_of_machine() if bound.is_unspecified else [str(bound)]
    for name in settings.hosts:
        if (host := parse_host(name)) is not None and host.is_address:
            yield host.name


def addresses_of_machine(control: Callable[..., Any] = fcntl.ioctl) -> list[str]:
    """The IPv4 addresses of this machine's interfaces, as far as the system tells."""
    buffer = array.array("B", bytes(_INTERFACE.size * INTERFACES_MAX))
    place, length = buffer.buffer_info()
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
            answer = control(any_socket, _GET_INTERFACES, struct.pack("iP", length, place))
    except OSError:
        return []
    filled = memoryview(buffer)[: struct.unpack("iP", answer)[0]]
    return [str(IPv4Address(address)) for _, address in _INTERFACE.iter_unpack(filled)]
