"""The rule of who may come in, without state: what a visitor shows, in; a `Verdict`, out.

A page on the Internet can make a browser send requests to 127.0.0.1. A name that was rebound to our address shows in
``Host``, a page of another site in ``Origin``. IP addresses and the names of ``localhost`` cannot be rebound, so they
are always accepted as ``Host``; other names must be in ``[http] hosts``. A page of another origin must be in
``[http] origins``, and may then call the standard namespaces (`node.rpc.rights`).

A request may call the methods in the scopes of its token. It may call every method if it has the node's own token, or
if all of this holds: it comes from a loopback address, its Host is a loopback address or name, its page, if any, is of
the node's own origin, and no proxy says that it forwarded the request. The Host counts because a container or a proxy
on this machine also connects from 127.0.0.1.

A node that other machines reach, and whose keys are its own, answers nobody without a token or a certificate that
belongs to one: a proxy that forwards its port can make any request look like one of this machine.

zvmd/1 over QUIC needs a token from everybody. A unix socket is for the user that the node runs as, and for root.

Sources: go-ethereum's node/rpcstack.go (virtual hosts), the Fetch standard (CORS), RFC 9112 section 3.2 (Host), RFC
6761 section 6.3 (localhost), RFC 6750 section 2.1 (bearer tokens), unix(7) (SO_PEERCRED).

>>> rules = GuardRules()
>>> nobody = Identification(lambda token: None)
>>> judge(rules, Visitor(hosts=("localhost:8545",), address="127.0.0.1"), nobody).rights.everything
True
>>> judge(rules, Visitor(hosts=("attacker.example:8545",), address="127.0.0.1"), nobody).refusal.status
403
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import NamedTuple

from node.doors.visitor import Rejection, Verdict, Visitor, Way
from node.ops.errors import InvalidSetting
from node.rpc.caller import GUEST, LOCAL, Caller
from node.settings import HttpSettings

ANY = "*"
DOTLESS = "<local>"
"""In ``[http] hosts``: all names without a dot, as containers have; Windows' proxy exceptions use the same word."""
AUTO = "auto"
"""In ``[http] origins``: every page on a chain of the public test mnemonic, none on others."""
HOST_CHARACTERS_MAX = 260
ORIGIN_CHARACTERS_MAX = 1_000
CACHED_HOSTS = 256
FORWARDED = (
    b"forwarded", b"via", b"x-forwarded-for", b"x-forwarded-host", b"x-forwarded-proto", b"x-real-ip", b"x-client-ip",
    b"true-client-ip", b"cf-connecting-ip",
)  # fmt: skip
"""Headers that a proxy adds to a request it forwards (RFC 7239; RFC 9110, 7.6.3; Envoy, Akamai, Cloudflare)."""
WRONG_TOKEN = Rejection(
    401, "http.token",
    "the token is not one of this node's",
    "send the content of the file token in the data directory, a token of zvmd token create, or none",
)  # fmt: skip
TOKEN_NEEDED = Rejection(
    401, "http.token_needed",
    "this node answers here only with a token",
    "send Authorization: Bearer TOKEN; zvmd token create makes one, or gives a certificate its rights",
)  # fmt: skip
TOO_MANY_CONNECTIONS = Rejection(
    429, "limit.connections",
    "this token has as many connections as it may have",
    "close one; the limit was given with the token",
)  # fmt: skip

_LABEL = r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?"
"""Underscores are allowed: Compose makes names with them."""
_HOST = re.compile(
    rf"(?:\[(?P<v6>[0-9a-f:.]+)\]|(?P<v4>\d+\.\d+\.\d+\.\d+)|(?P<name>{_LABEL}(?:\.{_LABEL})*\.?))"
    r"(?::(?P<port>[1-9][0-9]{0,4}))?",
    re.ASCII,
)
_NUMERIC_END = re.compile(r"(?:.*\.)?(?:[0-9]+|0x[0-9a-f]*)", re.ASCII)
"""Browsers read such a name as an IPv4 address (URL standard, 4.1), so it is not a name (``127.1``, ``0x7f000001``)."""
_PATTERN = re.compile(rf"(?:\*\.)?{_LABEL}(?:\.{_LABEL})*", re.ASCII)
_ORIGIN_PATTERN = re.compile(r"[!-~]+")


@dataclass(frozen=True, slots=True)
class Host:
    """A valid ``Host`` without its port: an address, or a name in lower case."""

    name: str
    is_address: bool
    cannot_be_rebound: bool
    """Whether DNS rebinding cannot change where a browser sends this: an IP address or a name of ``localhost``."""
    is_loopback: bool
    """Whether it means the machine on which it is used."""

    @classmethod
    def of_address(cls, address: IPv4Address | IPv6Address) -> Host:
        """An IP address in its usual form."""
        return cls(str(address), True, True, loopback(address))

    @classmethod
    def of_name(cls, name: str) -> Host:
        """A name in lower case, without a trailing dot."""
        local = name == "localhost" or name.endswith(".localhost")
        return cls(name, False, local, local)


@lru_cache(CACHED_HOSTS)
def parse_host(value: str) -> Host | None:
    """The host of a ``Host`` header, which is exactly ``name[:port]``; None if it is not.

    >>> parse_host("[::1]:8545").name, parse_host("LocalHost:1").name, parse_host("[127.0.0.1].attacker.example")
    ('::1', 'localhost', None)
    """
    found = _HOST.fullmatch(value.lower())
    if found is None or int(found["port"] or 1) > 65_535:
        return None
    if (name := found["name"]) is None:
        try:
            return Host.of_address(IPv6Address(found["v6"]) if found["v6"] else IPv4Address(found["v4"]))
        except ValueError:
            return None
    rooted = name.removesuffix(".")
    top_level = rooted != name and "." not in rooted and rooted != "localhost"  # "ai." is never a name of this network
    return None if top_level or _NUMERIC_END.fullmatch(rooted) else Host.of_name(rooted)


def loopback(address: IPv4Address | IPv6Address) -> bool:
    """Whether only this machine has the address; also as IPv6 with an IPv4 address in it."""
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return (mapped or address).is_loopback


@dataclass(frozen=True, slots=True)
class GuardRules:
    """Which hosts and origins the settings allow."""

    hosts: tuple[str, ...] = HttpSettings().hosts
    origins: tuple[str, ...] = ()
    require_token: bool = False
    """Whether everybody but the node's machine needs a token or a known certificate."""
    uid: int | None = None
    """The user that the node runs as."""
    trusts_machine: bool = True
    """Whether callers that seem to be on this machine may do everything."""
    http3_needs_token: bool = False
    """Whether everybody, this machine too, needs a token over HTTP/3: it is spoken on QUIC's address, where the owner
    may have opened nothing but zvmd/1, and no client shows a certificate there."""

    @classmethod
    def of(
        cls,
        settings: HttpSettings,
        public: bool,
        require_token: bool = False,
        uid: int | None = None,
        trusts_machine: bool = True,
        quic_host: str = "127.0.0.1",
    ) -> GuardRules:
        """The rules of a node; ``public``: on a chain of the public test mnemonic. Raises `InvalidSetting`."""
        hosts = tuple(_host_pattern(entry) for entry in settings.hosts)
        origins = [_origin_pattern(entry) for entry in settings.origins]
        if AUTO in origins and public:
            origins.append(ANY)
        entries = tuple(entry for entry in origins if entry != AUTO)
        is_open, is_quic_open = (not loopback(ip_address(host)) for host in (settings.host, quic_host))
        http3_needs_token = bool(settings.client_authority) or (is_quic_open and not (public and is_open))
        return cls(hosts, entries, require_token, uid, trusts_machine, http3_needs_token)

    def accept_host(self, host: Host) -> bool:
        """Whether this is one of the node's names."""
        return host.cannot_be_rebound or any(_host_matches(entry, host.name) for entry in self.hosts)

    def accept_origin(self, origin: str) -> bool:
        """Whether pages of this origin may call the node."""
        origin = origin.lower()
        return len(origin) <= ORIGIN_CHARACTERS_MAX and any(_origin_matches(entry, origin) for entry in self.origins)


def _host_matches(entry: str, name: str) -> bool:
    if entry == DOTLESS:
        return "." not in name
    return entry in (ANY, name) or (entry.startswith("*.") and name.endswith(entry[1:]))


def _origin_matches(entry: str, origin: str) -> bool:
    before, wild, behind = entry.partition(ANY)
    if not wild:
        return origin == entry
    if entry == ANY:
        return True
    middle = origin[len(before) : len(origin) - len(behind)]
    fits = len(origin) >= len(before) + len(behind) and origin.startswith(before) and origin.endswith(behind)
    return fits and "/" not in middle


def _host_pattern(entry: str) -> str:
    entry = entry.lower()
    host = parse_host(entry)
    if entry in (ANY, DOTLESS) or _PATTERN.fullmatch(entry) or (host is not None and host.is_address):
        return entry
    raise InvalidSetting(
        f"http.hosts: {entry[:100]!r} is not a name without port, such as rpc.example.com, *.example.com, <local> or *"
    )


def _origin_pattern(entry: str) -> str:
    entry = entry.lower()
    scheme, separator, rest = entry.partition("://")
    as_url = separator and scheme and rest and not set("/?#") & set(rest)
    as_word = not separator and not set(":/") & set(entry)
    if not _ORIGIN_PATTERN.fullmatch(entry) or entry.count(ANY) > 1 or not (as_url or as_word or entry == "file://"):
        raise InvalidSetting(
            f"http.origins: {entry[:100]!r} is not an origin, which is scheme://host:port without a path, such as "
            "http://localhost:3000 (one * matches any characters), or null, * or auto"
        )
    return entry


class Identification(NamedTuple):
    """Who has which token or certificate; None if it is not one of this node's."""

    of_token: Callable[[str], Caller | None]
    of_certificate: Callable[[bytes], Caller | None] = lambda _: None


def judge(rules: GuardRules, visitor: Visitor, known: Identification) -> Verdict:
    """Who a visitor is, or why it is not let in."""
    verdict = _RULES[visitor.way](rules, visitor, known)
    caller = verdict.caller._replace(way=visitor.way.value, address=visitor.address)
    return verdict._replace(caller=caller)


def _from_the_web(rules: GuardRules, visitor: Visitor, known: Identification) -> Verdict:
    """A request of HTTP, of any version, or the handshake of a WebSocket."""
    if len(visitor.hosts) != 1 or len(visitor.origins) > 1 or len(visitor.authorizations) > 1:
        message = "a request has one Host, and at most one Origin and one Authorization"
        return _refused(400, "http.headers", message, "send each header once; Host is required")
    tokens = visitor.given_tokens()
    if len(tokens) > 1:
        return _refused(400, "http.headers", "a request has at most one token", "send it in one place")
    given = visitor.hosts[0]
    host = parse_host(given) if len(given) <= HOST_CHARACTERS_MAX else None
    if host is None or not rules.accept_host(host):
        shown = given[:100] or "(empty)"
        return _refused(403, "http.refused", f"Host {shown} is not allowed", "allow the name with [http] hosts")
    origin = visitor.origins[0] if visitor.origins else None
    scheme = "https" if visitor.secure else "http"
    own = origin is None or (host.cannot_be_rebound and origin.lower() == f"{scheme}://{given.lower()}")
    welcome = origin is None or own or rules.accept_origin(origin)
    if tokens:
        caller = known.of_token(tokens[0])
        if caller is None:
            return Verdict(origin=origin if welcome else None, refusal=WRONG_TOKEN)
        return Verdict(caller, origin)
    if not welcome:
        hint = "allow it with [http] origins or --allow-origin"
        return _refused(403, "http.refused", f"Origin {origin:.100} is not allowed", hint)
    if own and visitor.certificate is not None and (caller := known.of_certificate(visitor.certificate)) is not None:
        return Verdict(caller, origin)
    is_near = not visitor.forwarded and host.is_loopback and is_loopback(visitor.address)
    needs_token = visitor.way is Way.HTTP3 and rules.http3_needs_token
    if own and is_near and rules.trusts_machine and not needs_token:
        return Verdict(LOCAL, origin)
    if rules.require_token or needs_token:
        return Verdict(origin=origin, refusal=TOKEN_NEEDED)
    return Verdict(GUEST, origin)


def _by_token(_rules: GuardRules, visitor: Visitor, known: Identification) -> Verdict:
    """A connection of zvmd/1 over QUIC, which needs a token from every address."""
    caller = known.of_token(visitor.tokens[0]) if visitor.tokens else None
    return Verdict(refusal=WRONG_TOKEN) if caller is None else Verdict(caller)


def _by_user(rules: GuardRules, visitor: Visitor, known: Identification) -> Verdict:
    """A connection to a unix socket, which is for the user that the node runs as, and for root.

    They need no token. One that is given all the same counts: a program that has less may be tried with it.
    """
    if visitor.uid is None or visitor.uid not in (0, rules.uid):
        message = "this socket is for the user that the node runs as"
        return _refused(403, "ipc.user", message, "connect as that user, or over HTTP or QUIC with a token")
    return _by_token(rules, visitor, known) if visitor.tokens else Verdict(LOCAL)


_RULES: dict[Way, Callable[[GuardRules, Visitor, Identification], Verdict]] = {
    Way.HTTP: _from_the_web,
    Way.WEBSOCKET: _from_the_web,
    Way.HTTP3: _from_the_web,
    Way.QUIC: _by_token,
    Way.IPC: _by_user,
    Way.SOCKET: _by_user,
}


def _refused(status: int, code: str, message: str, hint: str) -> Verdict:
    return Verdict(refusal=Rejection(status, code, message, hint))


@lru_cache(CACHED_HOSTS)
def is_loopback(address: str | None) -> bool:
    """Whether a peer's address is one of this machine only; a unix socket's peer has none, and is not asked here."""
    return address is not None and loopback(ip_address(address))
