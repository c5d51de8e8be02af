"""The Debug Adapter Protocol for editors, over the sessions of a node."""
