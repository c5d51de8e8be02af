"""Access to the machine for all stores: files, locks, LevelDB, checksums, and the meaning of failing calls."""
