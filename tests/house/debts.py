"""Known offenders of a house rule, which may only become fewer: ``debts.toml`` lists them, each with its reason."""

from __future__ import annotations

import tomllib
from pathlib import Path

DEBTS = tomllib.loads((Path(__file__).parent / "debts.toml").read_text(encoding="utf-8"))


def check(rule: str, offenders: set[str]) -> None:
    """Assert that the offenders of a rule are those listed: none is new, and none is listed that has been mended."""
    listed = {name for entry in DEBTS.get(rule, []) for name in entry["names"]}
    assert not offenders - listed, f"new offenders of the rule {rule!r}: {sorted(offenders - listed)}"
    assert not listed - offenders, f"mended; remove from debts.toml, {rule!r}: {sorted(listed - offenders)}"
