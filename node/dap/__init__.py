"""The Debug Adapter Protocol over a node's sessions, for editors."""
