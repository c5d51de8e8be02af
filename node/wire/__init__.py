"""The QUIC protocol: a sans-IO connection, the codec to domain objects, and the asyncio shell around them."""
