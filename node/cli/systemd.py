"""``zvmd systemd``: print or install the unit files, with the path of this installation."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path
from typing import NamedTuple

import click

from node import resources
from node.cli.output import say
from node.ops.errors import UnitsNotInstalled


class UnitFile(NamedTuple):
    """A file of ``systemd/`` and where it goes."""

    source: str
    target: str


SYSTEM_FILES = (
    UnitFile("zvmd.service", "etc/systemd/system/zvmd.service"),
    UnitFile("zvmd.sysusers.conf", "etc/sysusers.d/zvmd.conf"),
    UnitFile("zvmd.tmpfiles.conf", "etc/tmpfiles.d/zvmd.conf"),
)
USER_FILES = (UnitFile("zvmd-user.service", "systemd/user/zvmd.service"),)

NEXT_STEPS = {
    False: "systemd-sysusers && systemd-tmpfiles --create && systemctl daemon-reload && systemctl enable --now zvmd",
    True: "systemctl --user daemon-reload && systemctl --user enable --now zvmd",
}


@click.group()
def systemd() -> None:
    """Print or install the systemd units."""


@systemd.command("print")
@click.option("--user", is_flag=True, help="The unit for your own user manager.")
def print_files(user: bool) -> None:
    """Print the files that `install` would write."""
    for file in USER_FILES if user else SYSTEM_FILES:
        say(f"#### {file.target}\n{render(file.source, executable())}")


@systemd.command()
@click.option("--user", is_flag=True, help="Install for your own user manager.")
@click.option("--root", type=click.Path(path_type=Path), default=Path("/"), help="Install below this folder.")
def install(user: bool, root: Path) -> None:
    """Write the unit files; an existing file that differs is kept as NAME.bak."""
    base = _user_config() if user else root
    for file in USER_FILES if user else SYSTEM_FILES:
        target = base / file.target
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            content = render(file.source, executable())
            if target.exists() and target.read_text(encoding="utf-8") != content:
                shutil.copy2(target, target.with_name(f"{target.name}.bak"))
            target.write_text(content, encoding="utf-8")
        except OSError as error:
            raise UnitsNotInstalled(f"cannot write {target}: {error.strerror}") from error
        say(f"wrote {target}")
    say(f"next: {NEXT_STEPS[user]}")


def render(source: str, command: str) -> str:
    """The file ``systemd/<source>`` with the command line of this installation in place of ``@ZVMD@``."""
    return resources.text(f"systemd/{source}").replace("@ZVMD@", command)


def executable() -> str:
    """How the unit starts zvmd: the console script beside this interpreter, else the interpreter itself."""
    script = Path(sys.executable).parent / "zvmd"
    return str(script) if os.access(script, os.X_OK) else f"{sys.executable} -m zvmd"


def _user_config() -> Path:
    return Path(os.environ.get("XDG_CONFIG_HOME") or "~/.config").expanduser()
