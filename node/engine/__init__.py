"""The engine: admission, ordering, execution, durability and publication of transactions."""
