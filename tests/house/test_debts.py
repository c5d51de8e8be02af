"""The list of debts gives reasons, and neither hides a new offender nor keeps a mended one."""

from __future__ import annotations

from collections import Counter

import pytest

from tests.house import debts


@pytest.mark.parametrize("rule", debts.DEBTS)
def test_every_debt_has_a_reason_and_is_listed_once(rule: str) -> None:
    entries = debts.DEBTS[rule]
    assert all(set(entry) == {"names", "reason"} and entry["reason"] for entry in entries)
    counted = Counter(name for entry in entries for name in entry["names"])
    assert not [name for name, times in counted.items() if times > 1]


def test_new_and_mended_offenders_fail(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(debts, "DEBTS", {"cycle": [{"names": ["a", "b"], "reason": "tried"}]})
    debts.check("cycle", {"a", "b"})
    with pytest.raises(AssertionError, match=r"new offenders of the rule 'cycle': \['c'\]"):
        debts.check("cycle", {"a", "b", "c"})
    with pytest.raises(AssertionError, match=r"mended; remove from debts.toml, 'cycle': \['b'\]"):
        debts.check("cycle", {"a"})
    with pytest.raises(AssertionError, match="new offenders"):
        debts.check("other", {"a"})
