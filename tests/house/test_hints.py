"""What hints and other messages name exists: settings, variables, flags of ``zvmd start``, commands."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache

import click
import pytest

from node.cli.start import start
from node.settings import SECTIONS
from tests.house.test_docs import SLUGS, complaint, settings
from tests.house.test_style import PACKAGES
from tests.paths import REPO

SECTION = "|".join(SECTIONS)
KEY = "[a-z]+(?:_[a-z]+)*"
IN_BRACKETS = re.compile(rf"\[({SECTION})\] ({KEY}(?:(?:, | or | and ){KEY})*)")
"""``[storage] export_seconds, exports_kept``."""
DOTTED = re.compile(rf"(?<![\w./'])({SECTION})\.({KEY})(?![\w(/])")
VARIABLE = re.compile(r"ZVMD_([A-Z]+)__([A-Z_]+)")
FLAG = re.compile(r"(?<![\w-])(--[a-z][a-z-]+)")
COMMAND = re.compile(r"`(zvmd [^`]+)`")
FILES = ("py", "md", "toml", "json", "sqlite", "pem")


@cache
def trees() -> dict[str, ast.Module]:
    """Source files that may hold a hint or name a setting."""
    paths = (path for package in PACKAGES for path in sorted((REPO / package).rglob("*.py")))
    texts = {str(path.relative_to(REPO)): path.read_text() for path in paths}
    return {name: ast.parse(text) for name, text in texts.items() if "hint" in text or IN_BRACKETS.search(text)}


def messages() -> list[tuple[str, str]]:
    """(file:line, text) of every text that is not documentation."""
    return [(f"{path}:{line}", text) for path, tree in trees().items() for line, text in _texts(tree)]


def _texts(tree: ast.Module) -> Iterator[tuple[int, str]]:
    docs = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docs:
            yield node.lineno, node.value


def hints() -> list[tuple[str, str]]:
    """Those assigned to, or passed as, ``hint``."""
    found = []
    for path, tree in trees().items():
        for node in ast.walk(tree):
            if isinstance(node, ast.Assign | ast.AnnAssign | ast.keyword) and _name(node).lower().endswith("hint"):
                texts = (one.value for one in ast.walk(node) if isinstance(one, ast.Constant))
                found += [(f"{path}: {_name(node)}", text) for text in texts if isinstance(text, str)]
    return found


def _name(node: ast.AST) -> str:
    if isinstance(node, ast.keyword):
        return node.arg or ""
    target = node.targets[0] if isinstance(node, ast.Assign) else node.target  # type: ignore[attr-defined]
    return getattr(target, "id", getattr(target, "attr", ""))


def named_settings(text: str) -> set[str]:
    """Settings that a text names, as ``section.key``."""
    found = {f"{section}.{key}" for section, key in DOTTED.findall(text) if key not in FILES}
    for section, keys in IN_BRACKETS.findall(text):
        found |= {f"{section}.{key}" for key in re.split(", | or | and ", keys)}
    return found | {f"{section}.{key}".lower() for section, key in VARIABLE.findall(text)}


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("keep more history: [storage] retention", {"storage.retention"}),
        ("allow it with [http] hosts or origins", {"http.hosts", "http.origins"}),
        ("[storage] export_seconds, exports_kept", {"storage.export_seconds", "storage.exports_kept"}),
        ("raise storage.retention_blocks, see ZVMD_HTTP__PORT", {"storage.retention_blocks", "http.port"}),
        ("look at node.py and at the log.", set()),
    ],
)
def test_settings_are_found_in_texts(text: str, named: set[str]) -> None:
    assert named_settings(text) == named


def test_settings_in_brackets_exist_wherever_they_are_named() -> None:
    """Hints said ``[storage] retention`` and ``[http] hosts or origins``: there were no such settings."""
    bracketed = {where: {f"{section}.{key}" for section, keys in IN_BRACKETS.findall(text)
                         for key in re.split(", | or | and ", keys)} for where, text in messages()}  # fmt: skip
    assert any(bracketed.values())
    assert not {where: names - settings() for where, names in bracketed.items() if names - settings()}


def test_what_hints_name_exists() -> None:
    known = {option for parameter in start.params for option in parameter.opts} | {"--data-dir", "--private-key"}
    found = hints()
    assert len(found) > 100
    wrong: dict[str, object] = {}
    for where, text in found:
        unknown = named_settings(text) - settings() - SLUGS
        commands = COMMAND.findall(text)
        flags = set(FLAG.findall(COMMAND.sub("", text))) - known - all_flags()
        if unknown or flags or any(complaint(command) for command in commands):
            wrong[where] = (text, unknown, flags)
    assert not wrong


@cache
def all_flags() -> frozenset[str]:
    """Options of any command."""
    from node.cli.main import cli

    def of(command: click.Command) -> Iterator[str]:
        for parameter in command.params:
            yield from (*parameter.opts, *parameter.secondary_opts)
        if isinstance(command, click.Group):
            context = click.Context(command)
            for name in command.list_commands(context):
                found = command.get_command(context, name)
                assert found is not None
                yield from of(found)

    return frozenset(of(cli))
