"""Access to the machine for all stores: files, locks, key-value stores, checksums, and the meaning of failing calls."""
