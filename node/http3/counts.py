"""How much HTTP/3 is used, for ``zvmd status``."""

from __future__ import annotations


class Http3Counts:
    """Connections and requests of a node over HTTP/3. Event loop only."""

    def __init__(self) -> None:
        self._connections = 0
        self._requests = 0

    def came(self) -> None:
        """A connection speaks HTTP/3."""
        self._connections += 1

    def left(self) -> None:
        """It is gone."""
        self._connections -= 1

    def asked(self) -> None:
        """A request has begun."""
        self._requests += 1

    def status(self) -> dict[str, int]:
        """Connections now, and requests since the start, refused ones too."""
        return {"connections": self._connections, "requests": self._requests}
