"""Decides from Host, Origin, address and token whether an HTTP request is accepted and which methods it may call.

A page on the Internet can make a browser send requests to 127.0.0.1. A name that was rebound to our address shows in
``Host``, a page of another site in ``Origin``. IP addresses and the names of ``localhost`` cannot be rebound, so they
are always accepted as ``Host``; other names must be in ``[http] hosts``. A page of another origin must be in
``[http] origins``, and may then call the standard namespaces (`node.rpc.rights`).

A request may call every method if it carries the node's token, or if all of this holds: it comes from a loopback
address, its Host is a loopback address or name, its page, if any, is of the node's own origin, and no proxy says that
it forwarded the request. The Host counts because a container or a proxy on this machine also connects from 127.0.0.1.

Pure: strings in, a `Verdict` out. Sources: go-ethereum's node/rpcstack.go (virtual hosts), the Fetch standard (CORS),
RFC 9112 section 3.2 (Host), RFC 6761 section 6.3 (localhost).

>>> rules = GuardRules()
>>> judge(rules, Visitor(hosts=("localhost:8545",), address="127.0.0.1")).rights.everything
True
>>> judge(rules, Visitor(hosts=("attacker.example:8545",), address="127.0.0.1")).refusal.status
403
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import NamedTuple

from node.gateway.answers import HttpRefusal
from node.ops.errors import InvalidSetting
from node.rpc.rights import EVERYTHING, STANDARD, Rights
from node.settings import HttpSettings

ANY = "*"
LOCAL = "<local>"
"""In ``[http] hosts``: all names without a dot, as containers have; Windows' proxy exceptions use the same word."""
AUTO = "auto"
"""In ``[http] origins``: every page on a chain of the public test mnemonic, none on others."""
HOST_CHARACTERS_MAX = 260
ORIGIN_CHARACTERS_MAX = 1_000
CACHED_HOSTS = 256
FORWARDED = (b"forwarded", b"x-forwarded-for", b"x-real-ip")
"""Headers that a proxy adds to a request it forwards."""

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
    is_token: Callable[[str], bool] = lambda _: False

    @classmethod
    def of(cls, settings: HttpSettings, public: bool, is_token: Callable[[str], bool]) -> GuardRules:
        """The rules of a node; ``public``: on a chain of the public test mnemonic. Raises `InvalidSetting`."""
        hosts = tuple(_host_pattern(entry) for entry in settings.hosts)
        origins = [_origin_pattern(entry) for entry in settings.origins]
        if AUTO in origins and public:
            origins.append(ANY)
        return cls(hosts, tuple(entry for entry in origins if entry != AUTO), is_token)

    def accept_host(self, host: Host) -> bool:
        """Whether this is one of the node's names."""
        return host.cannot_be_rebound or any(_host_matches(entry, host.name) for entry in self.hosts)

    def accept_origin(self, origin: str) -> bool:
        """Whether pages of this origin may call the node."""
        origin = origin.lower()
        return len(origin) <= ORIGIN_CHARACTERS_MAX and any(_origin_matches(entry, origin) for entry in self.origins)


def _host_matches(entry: str, name: str) -> bool:
    if entry == LOCAL:
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
    if entry in (ANY, LOCAL) or _PATTERN.fullmatch(entry) or (host is not None and host.is_address):
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


class Visitor(NamedTuple):
    """What a request shows of its sender. Headers that may appear once are given as often as they were sent."""

    hosts: tuple[str, ...]
    address: str | None
    """Address of the peer, from the socket."""
    origins: tuple[str, ...] = ()
    authorizations: tuple[str, ...] = ()
    forwarded: bool = False
    """It has a header of `FORWARDED`."""


class Verdict(NamedTuple):
    """The decision on a visitor."""

    rights: Rights = STANDARD
    origin: str | None = None
    """The page's origin, if its scripts may read the answer."""
    refusal: HttpRefusal | None = None


def judge(rules: GuardRules, visitor: Visitor) -> Verdict:
    """Whether a request is taken, and with which rights."""
    if len(visitor.hosts) != 1 or len(visitor.origins) > 1 or len(visitor.authorizations) > 1:
        message = "a request has one Host, and at most one Origin and one Authorization"
        return _refused(400, "http.headers", message, "send each header once; Host is required")
    given = visitor.hosts[0]
    host = parse_host(given) if len(given) <= HOST_CHARACTERS_MAX else None
    if host is None or not rules.accept_host(host):
        shown = given[:100] or "(empty)"
        return _refused(403, "http.refused", f"Host {shown} is not allowed", "allow the name with [http] hosts")
    origin = visitor.origins[0] if visitor.origins else None
    own = origin is None or (host.cannot_be_rebound and origin.lower() == f"http://{given.lower()}")
    welcome = origin is None or own or rules.accept_origin(origin)
    token = _bearer(visitor.authorizations)
    if token is not None and not rules.is_token(token):
        hint = "send the content of the file token in the node's data directory, or no token"
        refusal = HttpRefusal(401, "http.token", "the token is not that of this node", hint)
        return Verdict(origin=origin if welcome else None, refusal=refusal)
    if token is None and not welcome:
        hint = "allow it with [http] origins or --allow-origin"
        return _refused(403, "http.refused", f"Origin {origin:.100} is not allowed", hint)
    near = not visitor.forwarded and host.is_loopback and _is_loopback(visitor.address)
    return Verdict(EVERYTHING if token is not None or (own and near) else STANDARD, origin)


def _refused(status: int, code: str, message: str, hint: str) -> Verdict:
    return Verdict(refusal=HttpRefusal(status, code, message, hint))


def _bearer(authorizations: tuple[str, ...]) -> str | None:
    """The token of ``Authorization: Bearer TOKEN``; other schemes are ignored."""
    scheme, _, token = (authorizations[0] if authorizations else "").strip().partition(" ")
    return token.strip() if scheme.lower() == "bearer" else None


@lru_cache(CACHED_HOSTS)
def _is_loopback(address: str | None) -> bool:
    return address is not None and loopback(ip_address(address))


def is_json(content_type: str | None) -> bool:
    """Whether a content type is JSON. Any page can send text/plain and form bodies, because they need no preflight.

    >>> is_json("application/json; charset=utf-8"), is_json("text/plain"), is_json(None)
    (True, False, False)
    """
    kind = (content_type or "").partition(";")[0].strip().lower()
    return kind in ("application/json", "application/json-rpc", "application/jsonrequest")
