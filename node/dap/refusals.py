"""Refusals of the adapter itself; those of the node are `zvmd.errors.ZvmdClientError`."""

from __future__ import annotations


class Refused(Exception):
    """A request that cannot be carried out; the message is shown to the user."""
