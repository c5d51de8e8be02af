"""Texts of templates that would cost the parser time or memory are refused before it sees them, in one pass."""

from __future__ import annotations

import sys
import tomllib
from types import FrameType
from typing import Any

import pytest

from debugger.errors import InvalidTemplate
from debugger.limits import TEMPLATE_BYTES, TOML_KEY_PARTS
from debugger.templates import parse_template
from debugger.toml_keys import check_keys
from node import resources

LONG = ".".join("a" * (TOML_KEY_PARTS + 1))
HIDDEN = [
    f"{LONG} = 1",
    f"[{LONG}]",
    f"[[{LONG}]]",
    f"x = {{ {LONG} = 1 }}",
    f"x = [{{ {LONG} = 1 }}]",
    LONG.replace(".", " . ") + " = 1",
    LONG.replace(".", "\t.\t") + " = 1",
    ".".join(['"a"'] * 20) + " = 1",
    ".".join(["'a'"] * 20) + " = 1",
    ".".join(["'a.b'", '"a\\".b"'] * 10) + " = 1",
    f'x = "#"\n{LONG} = "#"',
    f"x = '\"'\n{LONG} = '\"'",
    f'# "\n{LONG} = 1 # "',
    f"# '''\n{LONG} = 1 # '''",
    f'x = """a""""\n{LONG} = "b"',
    f'x = """a"""""\n{LONG} = "b"',
    f"x = '''a''''\n{LONG} = 'b'",
    f'x = """\\""" " """\n{LONG} = 1',
    f'x = "\\\\"\n{LONG} = "\\\\"',
    f"x = '\\'\n{LONG} = '\\'",
    f'x = ""\n{LONG} = ""',
    f"x = ''''''\n{LONG} = 1",
    f'x = 1.5\r\n{LONG} = 1',
]
"""Keys of too many parts, some beside what might be taken for a string around them."""
FINE = [
    'a.b.c.d = 1\n[x."y.y.y.y.y.y.y.y.y.y".z]\n',
    f'x = "{LONG}"\ny = \'{LONG}\'\n',
    f'x = """{LONG}"""\n# {LONG}\n',
    f"x = '''\n{LONG}\n'''\n",
    "x = [1.5, 2.5, 3.5, 4.5, 5.5, 6.5, 7.5, 8.5, 9.5, 0.5]\n",
    "x = 2001-01-01T00:00:00.5\n",
]


@pytest.mark.parametrize("text", HIDDEN)
def test_long_keys_are_found_wherever_they_stand(text: str) -> None:
    with pytest.raises(ValueError, match="parts"):
        check_keys(text)
    with pytest.raises(InvalidTemplate):
        parse_template(text)


@pytest.mark.parametrize("text", FINE)
def test_other_dots_are_none_of_its_business(text: str) -> None:
    tomllib.loads(text)
    check_keys(text)


def test_every_template_of_the_gallery_passes() -> None:
    files = sorted((resources.path("config") / "templates").glob("*.toml"))
    assert files
    for path in files:
        check_keys(path.read_text(encoding="utf-8"))


@pytest.mark.parametrize(
    "text", ['x = "', "x = '''", "n = " + "9" * 5_000, "n = 0x" + "f" * 5_000, "x = " + "[" * 20_000, "d = 9999-99-99"]
)
def test_what_is_no_template_is_refused(text: str) -> None:
    with pytest.raises(InvalidTemplate):
        parse_template(text)


def lines_run(text: str) -> int:
    count = 0

    def trace(frame: FrameType, event: str, _argument: Any) -> Any:
        nonlocal count
        count += event == "line"
        return trace if frame.f_code.co_filename.endswith("toml_keys.py") else None

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        check_keys(text)
    except ValueError:
        pass
    finally:
        sys.settrace(before)
    return count


UNITS = ('x = "\\"\\\\"\n', "a.b = 1\n", '"', "'", "\\", '"""', "# '\n", ".", " ", '\\"', "[", "a" * 10 + "\n", '""""')


@pytest.mark.parametrize("unit", UNITS)
def test_twice_the_text_takes_twice_the_steps(unit: str) -> None:
    short, long = (lines_run(unit * count) for count in (1_000, 2_000))
    assert long <= 2 * short + 100


def test_the_largest_text_is_read_once() -> None:
    check_keys("a = 1\n" * (TEMPLATE_BYTES // 6))
    with pytest.raises(InvalidTemplate, match="characters"):
        parse_template("a" * (TEMPLATE_BYTES + 1))
