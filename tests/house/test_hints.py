"""What hints, errors, log messages and help texts name exists: settings, variables, flags, commands."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache

import click
import pytest

from node.cli.main import cli
from node.settings import SECTIONS
from tests.house.modules import modules
from tests.house.test_docs import SLUGS, complaint, settings

SECTION = "|".join(SECTIONS)
KEY = "[a-z]+(?:_[a-z]+)*"
IN_BRACKETS = re.compile(rf"\[({SECTION})\] ({KEY}(?:(?:, | or | and ){KEY})*)")
"""``[storage] export_seconds, exports_kept``."""
DOTTED = re.compile(rf"(?<![\w./'])({SECTION})\.({KEY})(?![\w(/])")
VARIABLE = re.compile(r"ZVMD_([A-Z]+)__([A-Z_]+)")
FLAG = re.compile(r"(?<![\w-])(--[a-z][a-z-]+)")
COMMAND = re.compile(r"`(zvmd [^`]+)`")
OTHER_PROGRAMS = {"--create", "--now"}
"""Flags of systemctl and systemd-tmpfiles, which `zvmd systemd` prints."""
FILES = ("py", "md", "toml", "json", "sqlite", "pem")


def messages() -> list[tuple[str, str]]:
    """(file:line, text) of every text of several words that is not documentation: hints, errors, log messages, help."""
    return [
        (f"{module.path}:{line}", text)
        for module in modules().values()
        for line, text in _texts(module.tree)
        if " " in text
    ]


def _texts(tree: ast.Module) -> Iterator[tuple[int, str]]:
    docs = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docs:
            yield node.lineno, node.value


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


def complaints(text: str) -> set[str]:
    """Settings, flags and commands that a text names and that do not exist."""
    commands = COMMAND.findall(text)
    flags = set(FLAG.findall(COMMAND.sub("", text))) - all_flags() - OTHER_PROGRAMS
    return (named_settings(text) - settings() - SLUGS) | flags | set(filter(None, map(complaint, commands)))


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ("keep more history: [storage] retention", {"storage.retention"}),
        ("allow it with [http] port or --allow-everything", {"--allow-everything"}),
        ("stop it and run `zvmd repair`", {"cli has no command repair"}),
        ("run `zvmd start --fast`", {"start has no {'--fast'}"}),
        ("see [storage] export_seconds, --data-dir and `zvmd verify`", set()),
    ],
)
def test_what_does_not_exist_is_found(text: str, wrong: set[str]) -> None:
    assert complaints(text) == wrong


def test_what_messages_name_exists() -> None:
    """Hints said ``[storage] retention`` and ``[http] hosts or origins``: there were no such settings."""
    found = messages()
    assert sum(bool(IN_BRACKETS.search(text)) for _, text in found) >= 5
    assert sum("--" in text for _, text in found) >= 5
    assert not {where: wrong for where, text in found if (wrong := complaints(text))}


@cache
def all_flags() -> frozenset[str]:
    """Options of any command."""

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
