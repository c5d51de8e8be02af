"""What is done with a request, from its head alone: who is let in, and what is served at which path."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, auto
from functools import partial
from urllib.parse import parse_qsl

import msgspec

from node.doors.doors import UNAUTHORIZED, Doors
from node.doors.rule import FORWARDED, TOKEN_NEEDED
from node.doors.visitor import Rejection, Visitor, Way
from node.gateway.answers import HttpAnswer, HttpRefusal, refusing
from node.gateway.http1 import RequestHead
from node.rpc.caller import GUEST, Caller
from node.rpc.service import RpcService

PREFLIGHT_MAX_AGE_S = 600
PREFLIGHT_HEADERS_MAX = 1_000
"""Most characters of header names that a preflight answer allows at the browser's request."""
DEFAULT_HEADERS = "authorization, content-type"
HEADER_NAMES = re.compile(r"[\w!#$%&'*+.^`|~-]++(?:\s*+,\s*+[\w!#$%&'*+.^`|~-]++)*", re.ASCII)
QUERY_FIELDS_MAX = 16
ALL = "GET, HEAD, POST, OPTIONS"
"""Methods served at some path."""
ALLOW = f"allow: {ALL}\r\n".encode()
NO_PATH = HttpRefusal(404, "http.path", "nothing is served at this path", "POST to /, or open a WebSocket at /ws")
NO_WEBSOCKET = HttpRefusal(426, "http.websocket", "a WebSocket is served here", "send the handshake of RFC 6455")
WEBSOCKET_OFFER = b"connection: upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\n"
CODED = HttpRefusal(415, "http.content_type", "the body has a Content-Encoding", "send it uncompressed")
NO_JSON = HttpRefusal(
    415, "http.content_type", "the body is not declared as JSON", "send Content-Type: application/json"
)


class PlanKind(Enum):
    """What follows a head."""

    CALL = auto()
    """A JSON-RPC body, to be answered by the service."""
    ANSWER = auto()
    """An answer that does not depend on the body."""
    WEBSOCKET = auto()


@dataclass(frozen=True, slots=True)
class Plan:
    """What is done with all requests that have this head."""

    kind: PlanKind
    head: RequestHead
    respond: Callable[[], HttpAnswer] | None = None
    """Makes the answer of `PlanKind.ANSWER`."""
    caller: Caller = GUEST
    delay_s: float = 0.0
    """Seconds after which the answer is sent."""
    headers: bytes = b""
    """Lines that every answer carries, so that the page which asked may read it."""


class Routes:
    """The paths of the node."""

    def __init__(
        self,
        service: RpcService,
        doors: Doors,
        is_ready: Callable[[], bool],
        way: Way = Way.HTTP,
    ) -> None:
        """``way`` is that of requests which do not ask for a WebSocket."""
        self._way = way
        self._service = service
        self.doors = doors
        """Who may come in."""
        self._is_ready = is_ready
        self._paths: dict[str, Callable[[RequestHead], Plan]] = {
            "/": self._calls,
            "/ws": self._websocket,
            "/healthz": partial(_state, self._health),
            "/readyz": partial(_state, self._readiness),
            "*": _server,
        }

    def plan(
        self, head: RequestHead, address: str | None, secure: bool = False, certificate: bytes | None = None
    ) -> Plan:
        """What to do with a request of the peer at ``address``, who has shown ``certificate`` over TLS."""
        visitor = visitor_of(head, address, self._way)._replace(secure=secure, certificate=certificate)
        caller, origin, refused, delay_s = self.doors.judge(visitor)
        headers = readable_by(origin) if origin is not None else b""
        asks_for_page = head.method == "OPTIONS" and origin is not None
        if asks_for_page and refused in (None, TOKEN_NEEDED):  # a browser sends no token before it knows that it may
            found = _fixed(head, HttpAnswer(204, b"", preflight(head)))
        elif refused is not None:
            found = _turned_away(head, refused)
        elif head.expectation not in (b"", b"100-continue"):
            refusal = HttpRefusal(417, "http.headers", "only 100-continue can be expected", "send no other Expect")
            found = _refused(head, refusal)
        else:
            found = self._paths.get(head.path, _nothing)(head)
        return Plan(found.kind, head, found.respond, caller, delay_s, headers)

    def _calls(self, head: RequestHead) -> Plan:
        if _is_websocket(head):
            return Plan(PlanKind.WEBSOCKET, head)
        if head.method != "POST":
            return _not_served(head, "POST", "POST a JSON-RPC request")
        if len(head.values(b"content-type")) > 1 or not is_json(head.text(b"content-type")):
            return _refused(head, NO_JSON)
        if not set(head.tokens(b"content-encoding")) <= {b"identity", b""}:
            return _refused(head, CODED, b"accept-encoding: identity\r\n")
        return Plan(PlanKind.CALL, head)

    @staticmethod
    def _websocket(head: RequestHead) -> Plan:
        if _is_websocket(head):
            return Plan(PlanKind.WEBSOCKET, head)
        return _refused(head, NO_WEBSOCKET, WEBSOCKET_OFFER)

    def _health(self) -> HttpAnswer:
        return _json({"status": "alive"})

    def _readiness(self) -> HttpAnswer:
        good = self._is_ready()
        return _json({"ready": good, "block": self._service.backend.head().number}, 200 if good else 503)


def _json(value: object, status: int = 200) -> HttpAnswer:
    return HttpAnswer(status, msgspec.json.encode(value))


def _fixed(head: RequestHead, answer: HttpAnswer) -> Plan:
    return Plan(PlanKind.ANSWER, head, lambda: answer)


def _refused(head: RequestHead, refusal: HttpRefusal, headers: bytes = b"") -> Plan:
    return _fixed(head, refusing(refusal, headers))


def _turned_away(head: RequestHead, refusal: Rejection) -> Plan:
    """The connection ends with the refusal of a token: what is remembered of a head must not answer another guess."""
    is_token = refusal.status == UNAUTHORIZED
    scheme = b"www-authenticate: Bearer\r\n" if is_token else b""
    return _fixed(head, refusing(HttpRefusal(*refusal), scheme, closes=is_token))


def _nothing(head: RequestHead) -> Plan:
    return _not_served(head, ALL, "POST a JSON-RPC request") if head.method == "CONNECT" else _refused(head, NO_PATH)


def _server(head: RequestHead) -> Plan:
    """``OPTIONS *`` asks for the methods there are (RFC 9110, 9.3.7)."""
    return _fixed(head, HttpAnswer(204, b"", ALLOW))


def _not_served(head: RequestHead, allowed: str, hint: str) -> Plan:
    refusal = HttpRefusal(405, "http.method", f"{head.method} is not served here", hint)
    return _refused(head, refusal, f"allow: {allowed}\r\n".encode())


def _state(respond: Callable[[], HttpAnswer], head: RequestHead) -> Plan:
    if head.method not in ("GET", "HEAD"):
        return _not_served(head, "GET, HEAD", "GET it")
    return Plan(PlanKind.ANSWER, head, respond)


def _is_websocket(head: RequestHead) -> bool:
    """Whether the offer to speak WebSocket can be taken; others are ignored, and the request is answered as it is."""
    return head.method == "GET" and head.offer == b"websocket" and head.length == 0


def visitor_of(head: RequestHead, address: str | None, way: Way) -> Visitor:
    """What a request shows of its sender."""
    origins, authorizations = head.values(b"origin"), head.values(b"authorization")
    forwarded = any(name in FORWARDED for name, _ in head.headers)
    way = Way.WEBSOCKET if _is_websocket(head) else way
    tokens = _tokens_of(head.query) if way is Way.WEBSOCKET and head.query else ()
    return Visitor(_texts(head.hosts), address, _texts(origins), _texts(authorizations), forwarded, way, tokens=tokens)


def _tokens_of(query: str) -> tuple[str, ...]:
    """The tokens in the query of a WebSocket's address: a browser cannot send a header with the handshake."""
    try:
        fields = parse_qsl(query, keep_blank_values=True, max_num_fields=QUERY_FIELDS_MAX)
    except ValueError:
        return ()
    return tuple(value for key, value in fields if key == "token")


def _texts(values: list[bytes]) -> tuple[str, ...]:
    return tuple(str(value, "latin-1") for value in values)


def readable_by(origin: str) -> bytes:
    """The headers that let a page's scripts read an answer. No credentials: the node has no cookies."""
    return b"access-control-allow-origin: " + origin.encode("latin-1") + b"\r\nvary: Origin\r\n"


def preflight(head: RequestHead) -> bytes:
    """What a browser may send next: the methods there are, and the headers it asked for (Fetch standard, 4.8).

    Private Network Access (WICG): a page on the Internet asks whether it may reach this network.
    """
    asked = head.text(b"access-control-request-headers") or ""
    allowed = asked if len(asked) <= PREFLIGHT_HEADERS_MAX and HEADER_NAMES.fullmatch(asked) else DEFAULT_HEADERS
    answer = (
        f"access-control-allow-methods: GET, POST, OPTIONS\r\naccess-control-allow-headers: {allowed}\r\n"
        f"access-control-max-age: {PREFLIGHT_MAX_AGE_S}\r\n"
        "vary: Access-Control-Request-Headers, Access-Control-Request-Private-Network\r\n"
    )
    if head.text(b"access-control-request-private-network") == "true":
        answer += "access-control-allow-private-network: true\r\n"
    return answer.encode()


def is_json(content_type: str | None) -> bool:
    """Whether a content type is JSON. Any page can send text/plain and form bodies, because they need no preflight.

    >>> is_json("application/json; charset=utf-8"), is_json("text/plain"), is_json(None)
    (True, False, False)
    """
    kind = (content_type or "").partition(";")[0].strip().lower()
    return kind in ("application/json", "application/json-rpc", "application/jsonrequest")
