"""Names in the certificate of ``http.tls = "auto"``."""

from __future__ import annotations

from pathlib import Path

from node.daemon.https import HttpTls
from node.settings import HttpSettings


def names(*hosts: str) -> tuple[str, ...]:
    return HttpTls(HttpSettings(tls="auto", hosts=hosts), Path("/nowhere")).wanted.names


def test_a_wildcard_is_in_it_unless_it_is_for_all_of_a_top_level() -> None:
    found = names("*.internal", "*.example.com", "rpc.example.org", "<local>", "10.0.0.7")
    assert {"*.example.com", "rpc.example.org", "host.docker.internal", "host.containers.internal"} <= set(found)
    assert not {"*.internal", "<local>", "10.0.0.7"} & set(found)
