"""Which HTTP requests are listened to at all: Host and Origin, against DNS rebinding and foreign web pages.

A page on the Internet can make a browser send requests to 127.0.0.1. A name that resolves to us (rebinding)
shows in Host; a foreign page shows in Origin; and requests that skip CORS preflight show in their content
type.

>>> rules = GuardRules()
>>> refusal(rules, host="localhost:8545", origin=None) is None
True
>>> refusal(rules, host="attacker.example:8545", origin=None)
'Host attacker.example is not allowed'
"""

from __future__ import annotations

from dataclasses import dataclass

LOCAL_HOSTS = ("localhost", "127.0.0.1", "::1")


@dataclass(frozen=True, slots=True)
class GuardRules:
    """Allowed names and web origins; ``*`` as an origin allows every page (never the default)."""

    hosts: tuple[str, ...] = LOCAL_HOSTS
    origins: tuple[str, ...] = ()


def host_name(host: str) -> str:
    """Host header without its port, lower case.

    >>> host_name("[::1]:8545"), host_name("LocalHost:1"), host_name("127.0.0.1")
    ('::1', 'localhost', '127.0.0.1')
    """
    host = host.strip().lower()
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.partition(":")[0].rstrip(".")


def origin_allowed(rules: GuardRules, origin: str) -> bool:
    """Whether pages of this origin may talk to the node."""
    return "*" in rules.origins or origin.lower() in rules.origins


def refusal(rules: GuardRules, host: str | None, origin: str | None) -> str | None:
    """Why the request is refused with 403, None if it is not."""
    name = host_name(host or "")
    if name not in rules.hosts and "*" not in rules.hosts:
        return f"Host {name[:100] or '(none)'} is not allowed"
    if origin is not None and not origin_allowed(rules, origin):
        return f"Origin {origin[:100]} is not allowed"
    return None


def is_json(content_type: str | None) -> bool:
    """Only JSON types: text/plain and form bodies skip preflight, so any page could send them.

    >>> is_json("application/json; charset=utf-8"), is_json("text/plain"), is_json(None)
    (True, False, False)
    """
    kind = (content_type or "").partition(";")[0].strip().lower()
    return kind in ("application/json", "application/json-rpc", "application/jsonrequest")
