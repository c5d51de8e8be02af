"""The SDK: what other programs import to talk to a zvmd node."""
