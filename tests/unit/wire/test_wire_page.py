"""The page that describes the wire format says the truth: its example runs, its tables name every message."""

from __future__ import annotations

import doctest

from tests.paths import REPO
from zvmd import frames

PAGE = REPO / "docs" / "formats" / "wire.md"


def test_the_example_runs() -> None:
    failed, attempted = doctest.testfile(str(PAGE), module_relative=False)
    assert (failed, attempted) == (0, 4)


def test_the_tables_name_every_message_with_its_tag() -> None:
    text = PAGE.read_text()
    for kind in [*frames.Request.__args__, *frames.Answer.__args__]:
        assert f"| {kind.__struct_config__.tag} | `{kind.__name__}` |" in text
