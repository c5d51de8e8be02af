"""``zvmd config``: the settings in force and where each came from; the annotated default file."""

from __future__ import annotations

import os
from pathlib import Path

import click
import msgspec

from node import resources
from node.cli.output import say
from node.ops.errors import UnreadableSettings
from node.settings import find_settings_file, load_settings, shown


@click.group()
def config() -> None:
    """Show the settings, or write the annotated default zvmd.toml."""


@config.command()
@click.option("--origin", is_flag=True, help="Also show where each value came from.")
@click.option("--config", "file", type=click.Path(path_type=Path), help="Use this zvmd.toml.")
def show(origin: bool, file: Path | None) -> None:
    """Print every setting in force as TOML."""
    loaded = load_settings(flags={}, environ=os.environ, file=file or find_settings_file(os.environ))
    section = ""
    for name, value, source in loaded.items():
        table, _, key = name.partition(".")
        if table != section:
            say(f"{'' if not section else chr(10)}[{table}]")
            section = table
        line = f"{key} = {_toml(name, value)}"
        say(f"{line:<48} # {source}" if origin else line)


@config.command()
@click.argument("target", type=click.Path(path_type=Path), default="zvmd.toml")
@click.option("--stdout", is_flag=True, help="Print the file instead of writing it.")
def init(target: Path, stdout: bool) -> None:
    """Write the annotated default settings to TARGET (default ./zvmd.toml); never overwrites."""
    content = resources.text("config/zvmd.toml")
    if stdout:
        say(content, nl=False)
        return
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with target.open("x", encoding="utf-8") as handle:
            handle.write(content)
    except OSError as error:
        raise UnreadableSettings(f"cannot write {target}: {error.strerror}") from error
    say(f"wrote {target}")


def _toml(name: str, value: object) -> str:
    """A value as TOML; a mnemonic is shown only if it is the public test mnemonic."""
    return msgspec.json.encode(shown(name, value)).decode()
