"""The SQL index: lookups only, rebuildable from the chain at any time."""
