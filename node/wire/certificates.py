"""Which certificate a QUIC connection shows: that of its protocol, if it has one of its own, else the node's.

Both libraries have one certificate a connection, which is set before anything of it is known. The protocol is in the
ClientHello (RFC 7301), which they give to a method of their TLS context: here it looks for the protocol first.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

_CERTIFICATE = re.compile(rb"-----BEGIN CERTIFICATE-----\r?\n.+?\r?\n-----END CERTIFICATE-----", re.DOTALL)
_KEY = re.compile(rb"-----BEGIN ((?:[A-Z]+ )?PRIVATE KEY)-----\r?\n.+?\r?\n-----END \1-----", re.DOTALL)


class PemPair(NamedTuple):
    """Content of a file with a certificate and those above it, and of the file with its key, both PEM."""

    certificates: bytes
    key: bytes


class ShownCertificate(NamedTuple):
    """A certificate, those above it, and its key, as objects of a library."""

    certificate: Any
    chain: list[Any]
    key: Any


Choose = Callable[[Any, Mapping[str, ShownCertificate]], None]
"""Has a TLS context of a server show the certificate of its protocol, by the name in ALPN."""


def read_pair(tls: Any, pair: PemPair) -> ShownCertificate:
    """A pair as objects of a library, whose module ``tls`` is. Raises `ValueError` if it cannot use them."""
    certificates = [found[0].replace(b"\r\n", b"\n") + b"\n" for found in _CERTIFICATE.finditer(pair.certificates)]
    key = _KEY.search(pair.key)
    if not certificates or key is None:
        raise ValueError("a certificate or its key is not there in PEM form")
    try:
        own, *chain = (tls.load_pem_x509_certificates(item)[0] for item in certificates)
        return ShownCertificate(own, chain, tls.load_pem_private_key(key[0].replace(b"\r\n", b"\n") + b"\n"))
    except Exception as error:  # each library has its own kinds
        raise ValueError(str(error) or type(error).__name__) from error


def choosing(tls: Any) -> Choose:
    """How contexts of a library's module ``tls`` are made to choose: aioquic's names, which its forks keep."""

    class ChoosingContext(tls.Context):  # type: ignore[misc]
        _shown: Mapping[str, ShownCertificate]

        def show(self, shown: Mapping[str, ShownCertificate]) -> None:
            """Choose between these and the one that it has."""
            self._shown = shown

        def _server_handle_hello(self, input_buf: Any, *rest: Any) -> None:
            begin = input_buf.tell()
            offered = tls.pull_client_hello(input_buf).alpn_protocols or ()
            input_buf.seek(begin)
            spoken = next((name for name in self._alpn_protocols or () if name in offered), "")
            if (shown := self._shown.get(spoken)) is not None:
                self.certificate, self.certificate_chain, self.certificate_private_key = shown
            super()._server_handle_hello(input_buf, *rest)

    def choose(context: Any, shown: Mapping[str, ShownCertificate]) -> None:
        if shown:
            object.__setattr__(context, "__class__", ChoosingContext)  # an overridden method would be a cycle
            context.show(shown)

    return choose
