"""The ordered key-value store under state and chain data: one port, and two engines behind it, LevelDB and RocksDB."""

from storage.io.kv.port import LAST_KEY as LAST_KEY
from storage.io.kv.port import KeyValueSnapshot as KeyValueSnapshot
from storage.io.kv.port import KeyValueStore as KeyValueStore
