"""The harness of the worked examples, on a small repository; every example of CONTRIBUTING.md has a test."""

from __future__ import annotations

import difflib
import subprocess
from pathlib import Path

import pytest

from tests.house.worked_examples import DIFF, apply_example, diff_under, run_python, sections
from tests.paths import REPO

PAGE = (REPO / "CONTRIBUTING.md").read_text()
PRICES = "ADD = 3\nMUL = 5\n"
FILES = {
    "vm/__init__.py": "",
    "vm/prices.py": PRICES,
    "node/doors.py": "PORT = 1\n",
    "tests/test_prices.py": "SEEN = 3\n",
}


def change(path: str, before: str, after: str) -> str:
    """A unified diff of one file."""
    lines = difflib.unified_diff(before.splitlines(True), after.splitlines(True), f"a/{path}", f"b/{path}")
    return "".join(lines)


def repository(folder: Path, *diffs: str) -> Path:
    """A small git repository whose CONTRIBUTING.md has one example, with the diffs in it."""
    source = folder / "source"
    blocks = "\n".join(f"```diff\n{diff}```" for diff in diffs)
    page = f"# Contributing\n\n## Worked examples\n\n### Reprice ADD\n\nIt is a row.\n\n{blocks}\n\n## After\n"
    for name, text in {**FILES, "CONTRIBUTING.md": page, ".gitignore": "ignored\n", "ignored": ""}.items():
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        (source / name).write_text(text)
    subprocess.run(["git", "init", "-q"], cwd=source, check=True)
    return source


REPRICE = change("vm/prices.py", PRICES, "ADD = 4\nMUL = 5\n")
TEST = change("tests/test_prices.py", FILES["tests/test_prices.py"], "SEEN = 4\n")
OTHER = change("node/doors.py", FILES["node/doors.py"], "PORT = 2\n")


def test_the_diff_changes_the_copy_and_python_imports_it(tmp_path: Path) -> None:
    source = repository(tmp_path, REPRICE + TEST)
    root = apply_example("Reprice ADD", tmp_path, source)
    program = "import vm.prices; print(vm.prices.ADD, vm.prices.__file__)"
    assert run_python(root, "-c", program).split() == ["4", str(root / "vm" / "prices.py")]
    assert (root / "tests" / "test_prices.py").read_text() == "SEEN = 4\n"
    assert (source / "vm" / "prices.py").read_text() == PRICES
    assert not (root / "ignored").exists()


@pytest.mark.parametrize(
    ("diffs", "complaint"),
    [
        ((), "has 0 diffs"),
        ((REPRICE, TEST), "has 2 diffs"),
        ((REPRICE + OTHER,), "one file of the product"),
        ((TEST,), "one file of the product"),
        ((change("vm/prices.py", "ADD = 2\n", "ADD = 4\n"),), "does not apply"),
    ],
    ids=["none", "two blocks", "two files", "no product file", "stale"],
)
def test_an_example_that_is_not_one_is_refused(tmp_path: Path, diffs: tuple[str, ...], complaint: str) -> None:
    with pytest.raises(AssertionError, match=complaint):
        apply_example("Reprice ADD", tmp_path, repository(tmp_path, *diffs))


def test_a_diff_is_found_under_its_own_heading_only() -> None:
    page = f"## Worked examples\n\n### One\n\n### Two\n\n```diff\n{TEST}```\n\n## Other\n\n```diff\n{OTHER}```\n"
    assert diff_under("Two", page) == TEST
    with pytest.raises(AssertionError, match="has 0 diffs"):
        diff_under("One", page)
    assert set(sections(page)) == {"One", "Two"}


@pytest.mark.parametrize("heading", sections(PAGE))
def test_every_example_with_a_diff_is_applied_by_a_test(heading: str) -> None:
    tests = "".join(path.read_text() for path in REPO.glob("tests/house/test_example_*.py"))
    assert not DIFF.search(sections(PAGE)[heading]) or f'apply_example("{heading}"' in tests
