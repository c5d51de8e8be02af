"""Worked examples of CONTRIBUTING.md: their diffs, applied to a copy of the checkout.

An example is a section under "Worked examples" with one fenced ``diff`` block. Its test applies the diff and runs
Python in the copy::

    root = apply_example("Reprice an opcode", tmp_path)
    assert run_python(root, "-c", "from vm... import ...; print(...)") == "3\\n"

A daemon runs from the copy with ``Daemon(data_dir, command=DAEMON, environment=first_on_path(root))``.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.daemon import clean_environment
from tests.paths import REPO

CHAPTER = "Worked examples"
DAEMON = (sys.executable, "-m", "node.cli.main")
DIFF = re.compile(r"^```diff\n(.*?)^```$", re.MULTILINE | re.DOTALL)
NOT_PRODUCT = ("tests/", "docs/")


def sections(page: str) -> dict[str, str]:
    """Heading to text of each worked example on the page."""
    chapters = _split(page, "## ")
    assert CHAPTER in chapters, f"no chapter {CHAPTER!r}"
    return _split(chapters[CHAPTER], "### ")


def _split(text: str, mark: str) -> dict[str, str]:
    parts = re.split(rf"^{mark}(.*)$", text, flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def diff_under(heading: str, page: str) -> str:
    """The one diff of a section, ready for ``git apply``."""
    found = DIFF.findall(sections(page)[heading])
    assert len(found) == 1, f"{heading!r} has {len(found)} diffs"
    return found[0]


def apply_example(heading: str, folder: Path, source: Path = REPO) -> Path:
    """Apply the diff under a heading of CONTRIBUTING.md to a copy of the checkout in ``folder``; the copy's root.

    Asserts that the diff applies without fuzz and changes exactly one file outside tests/ and docs/.
    """
    diff = diff_under(heading, (source / "CONTRIBUTING.md").read_text())
    root = _copy(source, folder / "tree")
    touched = [line.split("\t")[2] for line in _git_apply(root, diff, "--numstat").splitlines()]
    product = [path for path in touched if not path.startswith(NOT_PRODUCT)]
    assert len(product) == 1, f"{heading!r} touches {product}; one file of the product is allowed"
    _git_apply(root, diff)
    return root


def _copy(source: Path, root: Path) -> Path:
    """Copy the files that git tracks or would add. They are not linked: the tests write next to them."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=source, capture_output=True, text=True, check=False)
    if listed.returncode:
        pytest.skip("not a git checkout")
    for name in filter(None, listed.stdout.split("\0")):
        if (source / name).is_file():  # one that was deleted is still listed
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(source / name, root / name)
    return root


def _git_apply(root: Path, diff: str, *options: str) -> str:
    environment = clean_environment() | {"GIT_CEILING_DIRECTORIES": str(root.parent)}
    applied = subprocess.run(
        ["git", "apply", *options, "-"],
        input=diff,
        cwd=root,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert applied.returncode == 0, f"the diff does not apply: {applied.stderr}"
    return applied.stdout


def first_on_path(root: Path) -> dict[str, str]:
    """Environment variables with which Python imports the packages of the copy."""
    return {"PYTHONPATH": str(root)}


def run_python(root: Path, *arguments: str) -> str:
    """Run Python with the copy first on ``sys.path``; its standard output. It must succeed."""
    ran = subprocess.run(
        [sys.executable, *arguments],
        cwd=root,
        env=clean_environment() | first_on_path(root),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr[-4_000:]
    return ran.stdout
