"""Who may connect, as a table: Host, Origin, address and token against what may be called."""

from __future__ import annotations

import pytest

from node.doors.rule import TOKEN_NEEDED, GuardRules, Identification, judge, parse_host
from node.doors.visitor import Visitor, Way
from node.ops.errors import InvalidSetting
from node.rpc.caller import OWNER, Caller
from node.rpc.registry import Scope
from node.rpc.rights import Rights
from node.settings import HttpSettings

TOKEN = "ab" * 32
PUBLIC = GuardRules.of(HttpSettings(), public=True)
OTHER = GuardRules.of(HttpSettings(), public=False)
LOCAL = Visitor(hosts=("127.0.0.1:8545",), address="127.0.0.1")


def identify(token: str) -> Caller | None:
    return OWNER if token == TOKEN else None


def outcome(rules: GuardRules, **changes: object) -> str:
    """``everything``, ``standard`` or the status of the refusal."""
    verdict = judge(rules, LOCAL._replace(**changes), Identification(identify))
    if verdict.refusal is not None:
        return str(verdict.refusal.status)
    return "everything" if verdict.rights.everything else "standard"


REFUSED_HOSTS = [
    # names that somebody else's name server can point at us
    "attacker.example", "attacker.example:8545", "localhost.attacker.example", "127.0.0.1.nip.io",
    "127.0.0.1.attacker.example:8545", "internal.attacker.example", "attacker.internal.example",
    "localhost.localdomain",
    "printer.local", "node.lan", "xn--n3h.example", "attacker.example.", "a.b.c.d.e.f.example",
    # names that only look like ours
    "notlocalhost.example", "localhost.com", "localhost-attacker.example", ".localhost", "localhost..", "a..localhost",
    ".internal", "host.docker.internal.attacker.example", "-attacker", "attacker-", "xn--localhost-", "ai.", "com.",
    # addresses that are none, and what browsers would read as one
    "2130706433", "0x7f000001", "0x7f.1", "127.1", "127.0.1", "0177.0.0.1", "127.0.0.1.", "256.0.0.1", "1.2.3.4.5",
    "127.0.0.01", "a.0x1", "a.1", "[::1", "::1", "::1]", "[::1]]", "[]", "[localhost]", "[127.0.0.1]", "[fe80::1%eth0]",
    "[::1%25lo]", "[v1.x]", "[1::2::3]", "[::ffff:127.0.0.256]",
    # more than name[:port]
    "[127.0.0.1].attacker.example", "[localhost].attacker.example:80", "[::1].attacker.example", "[::1]attacker",
    "localhost:attacker.example", "localhost:8545:1", "localhost:", "localhost:0", "localhost:65536", "localhost:-1",
    "localhost:+1", "localhost:99999999999", "localhost:８５", "localhost:8545x", "localhost: 8545", ":8545", "",
    " ", "local host", "localhost,attacker.example", "localhost@attacker.example", "user@localhost",
    "localhost/attacker.example", "localhost?x", "localhost#x", "http://localhost", "//localhost", "localhost\\x",
    "attacker.example#localhost", "attacker.example/localhost", "ﬀ.internal", "ｌocalhost", "löcalhost",
    "localhost\x00",
    "localhost\t", "%6cocalhost", "*", "*.localhost", "<local>", "x" * 64, "a." * 200 + "internal", "a" * 10_000,
]  # fmt: skip
ACCEPTED_HOSTS = [
    "localhost", "LOCALHOST:1", "localhost.", "node.localhost:3000", "a.b.LocalHost", "127.0.0.1:8545", "[::1]:8545",
    "[::1]", "127.0.0.2", "0.0.0.0:8545", "[::]:8545", "192.168.0.1", "10.0.0.1:65535", "172.17.0.1:8545",
    "[fe80::1]:8545", "[2001:DB8::1]", "[::ffff:127.0.0.1]:1", "host.docker.internal:8545", "host.containers.internal",
    "Gateway.Docker.Internal.", "metadata.google.internal", "anvil:8545", "zvmd_node-1", "ANVIL", "xn--n3h",
]  # fmt: skip


@pytest.mark.parametrize("rules", [PUBLIC, OTHER], ids=["public", "other"])
def test_hosts(rules: GuardRules) -> None:
    assert {host: outcome(rules, hosts=(host,)) for host in REFUSED_HOSTS} == dict.fromkeys(REFUSED_HOSTS, "403")
    accepted = {host: outcome(rules, hosts=(host,)) for host in ACCEPTED_HOSTS}
    assert not {host: what for host, what in accepted.items() if what not in ("everything", "standard")}


def test_a_request_has_one_host() -> None:
    assert outcome(PUBLIC, hosts=()) == "400"
    assert outcome(PUBLIC, hosts=("localhost", "attacker.example")) == "400"
    assert outcome(PUBLIC, hosts=("localhost", "localhost")) == "400"
    assert outcome(PUBLIC, origins=("http://a", "http://a")) == "400"
    assert outcome(PUBLIC, authorizations=(f"Bearer {TOKEN}", "Bearer x")) == "400"


def test_hosts_that_the_settings_name() -> None:
    rules = GuardRules.of(HttpSettings(hosts=("Node.Example.com", "*.corp.example")), False)
    wanted = {
        "node.example.com:1": "standard", "NODE.example.com.": "standard", "other.example.com": "403",
        "a.corp.example": "standard", "a.b.corp.example": "standard", "corp.example": "403", "xcorp.example": "403",
        "anvil": "403", "host.docker.internal": "403", "localhost": "everything", "10.0.0.1": "standard",
    }  # fmt: skip
    assert {host: outcome(rules, hosts=(host,)) for host in wanted} == wanted
    everybody = GuardRules.of(HttpSettings(hosts=("*",)), False)
    assert outcome(everybody, hosts=("attacker.example",)) == "standard"
    assert outcome(everybody, hosts=("attacker.example", "b")) == "400"
    assert outcome(everybody, hosts=("attacker example",)) == "403"


PAGES = [
    "https://attacker.example", "http://localhost:3000", "http://127.0.0.1:3000", "null", "Titanoboa", "file://", "",
    "chrome-extension://nkbihfbeogaeaoehlefnkodbefgpgknn", "moz-extension://0b5e0e4c", "https://remix.ethereum.org",
    "https://127.0.0.1:8545", "http://localhost:8545", "http://127.0.0.1:8545/", "http://127.0.0.1", "127.0.0.1:8545",
    "http://127.0.0.1:8545.attacker.example", "http://user@127.0.0.1:8545", "http://127.0.0.1:08545",
    "ws://127.0.0.1:8545", "http://127.0.0.1:8545, http://127.0.0.1:8545", "*", "http://[::1]:8545",
]  # fmt: skip


def test_pages_of_other_origins_get_the_standard_namespaces_of_a_public_chain_only() -> None:
    assert {page: outcome(PUBLIC, origins=(page,)) for page in PAGES} == dict.fromkeys(PAGES, "standard")
    assert {page: outcome(OTHER, origins=(page,)) for page in PAGES} == dict.fromkeys(PAGES, "403")
    assert outcome(PUBLIC, origins=("http://" + "a" * 1_000,)) == "403"


@pytest.mark.parametrize("rules", [PUBLIC, OTHER], ids=["public", "other"])
def test_a_page_of_the_own_origin(rules: GuardRules) -> None:
    own = {host: outcome(rules, hosts=(host,), origins=(f"http://{host}",)) for host in ACCEPTED_HOSTS}
    loopback = {host: outcome(rules, hosts=(host,)) == "everything" for host in ACCEPTED_HOSTS}
    assert {host for host, is_own in loopback.items() if is_own} == {
        "localhost", "LOCALHOST:1", "localhost.", "node.localhost:3000", "a.b.LocalHost", "127.0.0.1:8545",
        "[::1]:8545", "[::1]", "127.0.0.2", "[::ffff:127.0.0.1]:1",
    }  # fmt: skip
    assert not {host for host, is_own in loopback.items() if is_own and own[host] != "everything"}
    assert not {host for host, is_own in loopback.items() if not is_own and own[host] == "everything"}


def test_a_name_that_can_be_rebound_makes_no_page_our_own() -> None:
    """A name server of the local network may point a name without a dot first at its own machine, then at ours."""
    for host in ("wifi:8545", "portal.internal:8545"):
        assert outcome(OTHER, hosts=(host,), origins=(f"http://{host}",)) == "403"
        assert outcome(PUBLIC, hosts=(host,), origins=(f"http://{host}",)) == "standard"


def test_origins_that_the_settings_name() -> None:
    entries = ("http://localhost:*", "https://*.Example.com", "Titanoboa", "null", "chrome-extension://*")
    rules = GuardRules.of(HttpSettings(origins=entries), False)
    wanted = {
        "http://localhost:3000": "standard", "http://LOCALHOST:1": "standard", "http://localhost": "403",
        "https://localhost:3000": "403", "https://app.example.com": "standard", "https://a.b.example.com": "standard",
        "https://example.com": "403", "https://attacker.com/.example.com": "403", "https://example.com.attacker": "403",
        "titanoboa": "standard", "Titanoboa2": "403", "null": "standard", "chrome-extension://abc": "standard",
        "moz-extension://abc": "403", "http://localhost:/": "403", "http://localhost:": "standard",
    }  # fmt: skip
    assert {page: outcome(rules, origins=(page,)) for page in wanted} == wanted
    assert outcome(GuardRules.of(HttpSettings(origins=("*",)), False), origins=("x",)) == "standard"
    nobody = GuardRules.of(HttpSettings(origins=()), True)
    assert outcome(nobody, origins=("http://localhost:3000",)) == "403"
    assert outcome(nobody, origins=("http://127.0.0.1:8545",)) == "everything"


@pytest.mark.parametrize(
    ("setting", "entry"),
    [
        *(("origins", entry) for entry in (
            "localhost:3000", "http://localhost:3000/", "http://localhost/app", "http://a?b", "http://a#b", "a b", "http://",
            "://a", "http://*.*.example", "http:/a", "", "http://ä",
        )),
        *(("hosts", entry) for entry in (
            "localhost:8545", "http://localhost", "*.*.example", "a.*", "*a.example", "", "a b", "<other>", "a/b", "ä",
            "-a", "[::1]:1x", "*.",
        )),
    ],
)  # fmt: skip
def test_settings_that_would_never_match_are_refused(setting: str, entry: str) -> None:
    with pytest.raises(InvalidSetting, match=rf"http\.{setting}"):
        GuardRules.of(HttpSettings(**{setting: (entry,)}), True)


ADDRESSES = {
    "127.0.0.1": "everything", "127.9.9.9": "everything", "::1": "everything", "::ffff:127.0.0.1": "everything",
    "172.17.0.1": "standard", "192.168.0.1": "standard", "8.8.8.8": "standard", "::ffff:8.8.8.8": "standard",
    "fe80::1%eth0": "standard", "::": "standard", "0.0.0.0": "standard", None: "standard",
}  # fmt: skip


def test_addresses() -> None:
    assert {address: outcome(PUBLIC, address=address) for address in ADDRESSES} == ADDRESSES


def test_what_a_proxy_forwards_is_not_local() -> None:
    assert outcome(PUBLIC, forwarded=True) == "standard"
    assert outcome(PUBLIC, forwarded=True, authorizations=(f"Bearer {TOKEN}",)) == "everything"


def test_the_token() -> None:
    right = (f"Bearer {TOKEN}",)
    for changes in ({}, {"address": "8.8.8.8"}, {"origins": ("http://a",)}, {"hosts": ("anvil",)}):
        assert outcome(PUBLIC, authorizations=right, **changes) == "everything"
        assert outcome(PUBLIC, authorizations=(f"bearer  {TOKEN} ",), **changes) == "everything"
        for wrong in ("", " ", " x", f" {TOKEN}x", f" {TOKEN[:-1]}", f" {TOKEN.upper()}"):
            assert outcome(PUBLIC, authorizations=("Bearer" + wrong,), **changes) == "401"
    assert outcome(PUBLIC, authorizations=right, hosts=("attacker.example",)) == "403"
    assert outcome(OTHER, authorizations=right, origins=("Titanoboa",)) == "everything"
    for scheme in ("Basic dXNlcjpwYXNz", "Digest x", TOKEN, ""):
        assert outcome(PUBLIC, authorizations=(scheme,)) == "everything"
        assert outcome(PUBLIC, authorizations=(scheme,), address="8.8.8.8") == "standard"


def test_the_port_is_left_out() -> None:
    assert parse_host("[2001:DB8:0::1]:80") == parse_host("[2001:db8::1]")
    assert parse_host("Node.LocalHost.:80") == parse_host("node.localhost")


def test_a_second_token_is_refused() -> None:
    assert outcome(PUBLIC, tokens=(TOKEN,)) == "everything"
    assert outcome(PUBLIC, tokens=(TOKEN, TOKEN)) == "400"
    assert outcome(PUBLIC, tokens=(TOKEN,), authorizations=(f"Bearer {TOKEN}",)) == "400"
    assert outcome(PUBLIC, tokens=("",)) == "401"


def test_over_tls_the_own_origin_begins_with_https() -> None:
    for secure, scheme, wanted in ((True, "https", "everything"), (True, "http", "403"), (False, "https", "403")):
        assert outcome(OTHER, secure=secure, origins=(f"{scheme}://127.0.0.1:8545",)) == wanted


def test_where_tokens_are_required_only_the_node_s_machine_needs_none() -> None:
    rules = GuardRules.of(HttpSettings(), True, require_token=True)
    assert outcome(rules) == "everything"
    for changes in ({"address": "8.8.8.8"}, {"hosts": ("anvil",)}, {"forwarded": True}, {"origins": ("http://a",)}):
        assert outcome(rules, **changes) == "401"
        assert outcome(rules, authorizations=(f"Bearer {TOKEN}",), **changes) == "everything"


def test_a_certificate_counts_for_programs_and_the_own_page_only() -> None:
    """A browser shows its certificate for every page that asks it to."""
    caller = Caller("machine", Rights(Scope.READ), "id")
    known = Identification(identify, {b"ours": caller}.get)
    far = LOCAL._replace(address="8.8.8.8", hosts=("10.0.0.1",), secure=True, certificate=b"ours")
    assert judge(PUBLIC, far, known).caller.name == "machine"
    assert judge(PUBLIC, far._replace(origins=("https://10.0.0.1",)), known).caller.name == "machine"
    assert judge(PUBLIC, far._replace(certificate=b"other"), known).caller.name == "guest"
    assert judge(PUBLIC, far._replace(origins=("http://a",)), known).caller.name == "guest"
    assert judge(OTHER, far._replace(origins=("http://a",)), known).refusal is not None
    required = GuardRules.of(HttpSettings(), False, require_token=True)
    assert judge(required, far, known).caller.name == "machine"
    assert judge(required, far._replace(certificate=b"other"), known).refusal == TOKEN_NEEDED


def test_unix_sockets_are_for_the_node_s_user_and_root() -> None:
    rules = GuardRules.of(HttpSettings(), False, uid=1000)
    for way in (Way.IPC, Way.SOCKET):
        known, users = Identification(identify), (0, 1000, 1001, None)
        allowed = {uid: judge(rules, Visitor(way=way, uid=uid), known) for uid in users}
        assert {uid: verdict.rights.everything for uid, verdict in allowed.items()} == {
            0: True, 1000: True, 1001: False, None: False,
        }  # fmt: skip
        assert {uid for uid, verdict in allowed.items() if verdict.refusal is not None} == {1001, None}


@pytest.mark.parametrize(
    ("http", "quic", "public", "authority", "expected"),
    [
        ("127.0.0.1", "127.0.0.1", False, "", "everything"),
        ("127.0.0.1", "::1", True, "", "everything"),
        ("0.0.0.0", "0.0.0.0", True, "", "everything"),
        ("0.0.0.0", "0.0.0.0", False, "", "401"),
        ("127.0.0.1", "0.0.0.0", False, "", "401"),
        ("127.0.0.1", "0.0.0.0", True, "", "401"),
        ("127.0.0.1", "127.0.0.1", True, "auto", "401"),
        ("0.0.0.0", "127.0.0.1", False, "", "401"),
    ],
)
def test_http3_opens_nothing_that_quic_and_http_did_not(
    http: str, quic: str, public: bool, authority: str, expected: str
) -> None:
    """QUIC listens elsewhere for owners of tokens; an authority of clients is for all that come over the web."""
    is_open = public or http == "127.0.0.1"
    web = HttpSettings(host=http, client_authority=authority)
    rules = GuardRules.of(web, public, not is_open, None, is_open, quic)
    assert outcome(rules, way=Way.HTTP3) == expected
    assert outcome(rules, way=Way.HTTP3, authorizations=(f"Bearer {TOKEN}",)) == "everything"
    assert outcome(rules) == ("401" if http == "0.0.0.0" and not public else "everything")
