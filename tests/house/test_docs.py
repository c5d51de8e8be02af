"""What the documents name exists: files, commands and their options, RPC methods, settings."""

from __future__ import annotations

import re
import shlex
import tomllib
from functools import cache
from pathlib import Path

import click
import msgspec
import pytest

from node.cli.main import cli
from node.rpc.methods import load_methods
from node.rpc.registry import method_names
from node.settings import SECTIONS
from tests.house import method_table
from tests.house.modules import PACKAGES
from tests.paths import REPO

PAGES = sorted([*REPO.glob("*.md"), *REPO.glob("docs/**/*.md")])
pages = pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(REPO)))

NAMESPACES = "eth|net|web3|debug|trace|txpool|evm|anvil|hardhat|tenderly|zvmd"
METHOD = re.compile(rf"\b(?:{NAMESPACES})_[A-Za-z_0-9]+(?![\w*]|\.py\b)")
COMMAND = re.compile(r"(?:`|^ {4,}|^\$ |\$ \.venv/bin/)(?:sudo )?(zvmd [^`#→\n]*)", re.MULTILINE)
LINK = re.compile(r"\]\(([^)#\s]+)(?:#[^)]*)?\)")
ROOMS = "chain|vm|storage|debugger|node|zvmd|tests|docs|examples|config|benchmarks|migrations|systemd|tools"
FILE = re.compile(rf"`((?:{ROOMS})/[\w./-]*[a-z][\w./-]*)`")
SETTING = re.compile(r"\b(" + "|".join(SECTIONS) + r")\.([a-z_0-9]+)\b")
SLUG = re.compile(r'^    code = "([a-z_0-9.]+)"', re.MULTILINE)
SLUGS = {slug for path in REPO.glob("*/**/*.py") for slug in SLUG.findall(path.read_text())}
"""Names of errors look like those of settings."""
NO_METHODS = {
    "zvmd_session_event", "eth_subscription", "eth_subscribe", "anvil_setMinGasPrice", "debug_ir", "eth_simulateV1",
    "eth_baseFee",
}  # fmt: skip
"""Notifications' names and a method of connections; what the pages say does not exist; what a worked example adds."""


@cache
def settings() -> frozenset[str]:
    fields = msgspec.structs.fields
    return frozenset(f"{name}.{field.name}" for name, kind in SECTIONS.items() for field in fields(kind))


@pages
def test_methods(page: Path) -> None:
    load_methods()
    named = {name for name in METHOD.findall(page.read_text()) if not name.endswith("_")}
    assert not named - set(method_names()) - NO_METHODS


@pages
def test_files_and_links(page: Path) -> None:
    text = page.read_text()
    links = [page.parent / link for link in LINK.findall(text) if "://" not in link]
    missing = [path for path in (*links, *(REPO / name for name in FILE.findall(text))) if not path.exists()]
    assert not missing


@pages
def test_settings(page: Path) -> None:
    named = {f"{section}.{key}" for section, key in SETTING.findall(page.read_text())}
    assert not {name for name in named - settings() - SLUGS if not name.endswith((".py", ".md", ".toml"))}


@pages
def test_commands(page: Path) -> None:
    complaints = {line: complaint(line) for line in COMMAND.findall(page.read_text())}
    assert not {line: said for line, said in complaints.items() if said}


def test_the_page_of_methods_is_made_from_the_code() -> None:
    written = (REPO / "docs" / "methods.md").read_text()
    assert written == method_table.page(), "run: python -m tests.house.method_table > docs/methods.md"


def complaint(line: str) -> str:
    """Why a command line cannot be one of ours; empty: it can. Placeholders in capitals are not looked at."""
    words = shlex.split(re.sub(r"[][|']|\.\.\.", " ", line))[1:]
    command: click.Command = cli
    while isinstance(command, click.Group) and words and not words[0].startswith("-"):
        found = command.get_command(click.Context(command), words[0])
        if found is None:
            return "" if words[0].isupper() else f"{command.name} has no command {words[0]}"
        command, words = found, words[1:]
    known = {option for parameter in command.params for option in (*parameter.opts, *parameter.secondary_opts)}
    unknown = {word.split("=")[0] for word in words if word.startswith("--")} - known - {"--help"}
    return f"{command.name} has no {unknown}" if unknown else ""


def test_every_command_is_written_down() -> None:
    text = "\n".join(page.read_text() for page in PAGES)
    assert not [name for name in cli.list_commands(click.Context(cli)) if f"zvmd {name}" not in text]


def test_the_annotated_settings_file_is_complete_and_says_the_defaults() -> None:
    text = (REPO / "config" / "zvmd.toml").read_text()
    given = tomllib.loads(re.sub(r"^# ([a-z_0-9]+ = )", r"\1", text, flags=re.MULTILINE))
    assert {f"{section}.{key}" for section, values in given.items() for key in values} == settings()
    for section, values in given.items():
        assert msgspec.convert(values, SECTIONS[section]) == SECTIONS[section]()


def test_the_tour_names_every_package() -> None:
    tour = (REPO / "docs" / "tour.md").read_text()
    folders = [folder for top in (*PACKAGES, "tests") for folder in (REPO / top, *(REPO / top).rglob("*"))]
    packages = [str(folder.relative_to(REPO)) for folder in folders if (folder / "__init__.py").exists()]
    assert not [name for name in packages if not name.startswith("tests/unit/") if f"`{name}/`" not in tour]
