"""The engine of the daemon: admission, ordering, execution, durability, publication."""
