"""TLS 1.3 records that no library sends: made by hand with the secrets of a connection (RFC 8446, 4.6.3, 5.2, 7.1)."""

from __future__ import annotations

import hmac
from pathlib import Path

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

HANDSHAKE, DATA = 22, 23
KEY_UPDATE = b"\x18\x00\x00\x01\x01"
"""A message that asks the peer to change its keys, too."""


class ByHand:
    """Seals records as the client of a connection, from its end of the handshake on."""

    def __init__(self, log: Path, cipher: tuple[str, str, int] | None) -> None:
        """``log`` is what OpenSSL wrote, see `ssl.SSLContext.keylog_filename`."""
        assert cipher is not None
        name, version, bits = cipher
        assert version == "TLSv1.3"
        assert "GCM" in name
        self._digest, self._key_bytes = name.rpartition("_")[2].lower(), bits // 8
        lines = dict(line.split(" ")[::2] for line in log.read_text().splitlines() if line[:1] == "C")
        self._use(bytes.fromhex(lines["CLIENT_TRAFFIC_SECRET_0"]))

    def seal(self, kind: int, content: bytes) -> bytes:
        """A record of that type."""
        inner = content + bytes([kind])
        head = b"\x17\x03\x03" + (len(inner) + 16).to_bytes(2, "big")
        nonce = (int.from_bytes(self._iv, "big") ^ self._sequence).to_bytes(12, "big")
        self._sequence += 1
        return head + self._cipher.encrypt(nonce, inner, head)

    def key_updates(self, count: int) -> bytes:
        """Records that each change the keys."""
        records = []
        for _ in range(count):
            records.append(self.seal(HANDSHAKE, KEY_UPDATE))
            self._use(self._expanded("traffic upd", len(self._secret)))
        return b"".join(records)

    def _use(self, secret: bytes) -> None:
        self._secret = secret
        self._cipher = AESGCM(self._expanded("key", self._key_bytes))
        self._iv = self._expanded("iv", 12)
        self._sequence = 0

    def _expanded(self, label: str, length: int) -> bytes:
        """HKDF-Expand-Label, of which all lengths here need one block."""
        name = b"tls13 " + label.encode()
        info = length.to_bytes(2, "big") + bytes([len(name)]) + name + b"\0"
        return hmac.new(self._secret, info + b"\x01", self._digest).digest()[:length]
