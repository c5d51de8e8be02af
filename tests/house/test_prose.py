"""Docstrings, comments, messages, hints and documents are plain English and refer only to what a reader has."""

from __future__ import annotations

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from tests.house.modules import PACKAGES
from tests.paths import REPO

UNREADABLE = {
    r"\bdesign, section\b": "a document that is not in the repository",
    r"\(T\d+(, T\d+)*\)|^T\d+: |\bT\d\d\b": "a numbered list that is not in the repository",
}
"""References that a reader cannot follow."""
FORBIDDEN = {
    r"\bfor ever\b": "say until when: without a limit, permanently, until the node stops",
    r"\bwho(m)?ever\b": "name the part that acts: the caller, the reader, another process",
    r"\bthe road\b": "a path, a sequence, or the steps themselves",
    r"\bthose who\b": "name them: watchers, clients, readers",
    r"\b(where (it|the session|the run) stands|stands? at|standing at)\b": "a position is, or is reached by going",
    r"\b(is|are|be) told\b|\btold (of|that)\b": "say which way: called, notified, reported, distinguished",
    r"\banew\b": "again, or re-: recreated, recomputed, reopened",
    r"\bway back\b": "rewind, or going backwards",
    r"\b(take|let go of|holds?) the wheel\b": "control of a session is taken and released",
    r"\b(are|is) the most\b": "the limit is",
    r"\bto be had\b": "available",
    r"(?<!here )\b(?:is|are) no (?!longer|more|such|need|room|limit|(?!number\b)\w+er\b)\w": "is not a",
}
"""Phrases that no engineer whose mother tongue is English would write, and what to write instead."""
STATEMENT = re.compile(r"(``|`|\"|[A-Z]|EIP-)[^\n]*[.:]")
"""The first line of a module: it begins with a capital or a quoted name, and ends."""


@cache
def _trees() -> tuple[tuple[str, str, ast.Module], ...]:
    found = []
    for package in PACKAGES:
        for path in sorted((REPO / package).rglob("*.py")):
            text = path.read_text()
            found.append((str(path.relative_to(REPO)), text, ast.parse(text)))
    return tuple(found)


def _texts(text: str, tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Line and text of every docstring, comment and string of a module."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.lineno, " ".join(node.value.split())
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type == tokenize.COMMENT:
            yield token.start[0], token.string


def _documents() -> Iterator[tuple[str, int, str]]:
    pages = [*sorted((REPO / "docs").rglob("*.md")), REPO / "README.md", REPO / "CONTRIBUTING.md"]
    for path in [*pages, REPO / "config" / "zvmd.toml", *sorted((REPO / "systemd").iterdir())]:
        for number, line in enumerate(path.read_text().split("\n"), 1):
            yield str(path.relative_to(REPO)), number, line


def _found(patterns: dict[str, str]) -> list[str]:
    rules = [(re.compile(pattern), reason) for pattern, reason in patterns.items()]
    places = [(path, line, text) for path, source, tree in _trees() for line, text in _texts(source, tree)]
    return [
        f"{path}:{line}: {found[0]!r} in {text[:90]!r}: {reason}"
        for path, line, text in [*places, *_documents()]
        for rule, reason in rules
        if (found := rule.search(text))
    ]


def test_no_phrase_is_one_that_nobody_would_say() -> None:
    found = _found(FORBIDDEN)
    assert not found, "\n".join(found)


def test_every_reference_can_be_followed() -> None:
    found = _found(UNREADABLE)
    assert not found, "\n".join(found)


@pytest.mark.parametrize(("text", "refused"), [
    ("kept for ever", True), ("whoever reads it", True), ("a wheel is built", False), ("is no longer read", False),
    ("this is no number", True), ("there is no number", False), ("the port is no higher than 9", False),
])  # fmt: skip
def test_the_list_of_phrases_is_sharp(text: str, refused: bool) -> None:
    assert any(re.search(pattern, text) for pattern in FORBIDDEN) is refused


def test_every_module_says_in_its_first_line_what_is_in_it() -> None:
    """A statement that begins with a capital or a name, ends with a full stop, and fits on one line."""
    faults = []
    for path, _, tree in _trees():
        first = (ast.get_docstring(tree) or "").split("\n")[0]
        if not STATEMENT.fullmatch(first) or len(first.split()) < 3:
            faults.append(f"{path}: {first!r}")
    assert not faults, "\n".join(faults)


def _hints() -> Iterator[tuple[str, int, str]]:
    for path, _, tree in _trees():
        for node in ast.walk(tree):
            if isinstance(node, ast.Assign) and any(isinstance(t, ast.Name) and t.id == "hint" for t in node.targets):
                for part in ast.walk(node.value):
                    if isinstance(part, ast.Constant) and isinstance(part.value, str):
                        yield path, part.lineno, part.value
            elif isinstance(node, ast.keyword) and node.arg == "hint" and isinstance(node.value, ast.Constant):
                yield path, node.value.lineno, str(node.value.value)


def test_hints_are_clauses_that_follow_a_colon() -> None:
    """They are printed as ``hint: ...``: no capital at the start unless it is a name, and no full stop."""
    faults = [
        f"{path}:{line}: {hint!r}"
        for path, line, hint in _hints()
        if hint and (re.match(r"[A-Z][a-z]", hint) or hint.endswith((".", "!")))
    ]
    assert not faults, "\n".join(faults)


def test_the_texts_are_read() -> None:
    """The sweep sees docstrings, comments and f-strings, and hints."""
    texts = list(_texts('"""Module."""\n# a comment\nx = f"a {1} b"\n', ast.parse('"""Module."""\nx = f"a {1} b"\n')))
    assert {text for _, text in texts} == {"Module.", "# a comment", "a", "b"}
    assert len(list(_hints())) > 100
    assert Path(_trees()[0][0]).suffix == ".py"
