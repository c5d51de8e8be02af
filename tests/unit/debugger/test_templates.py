"""The gallery: every template ends as it says; users' own ones; the assembler."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from chain.forks import LATEST_FORK
from debugger.assembly import assemble
from debugger.errors import InvalidTemplate
from debugger.frontend import disassemble
from debugger.session import Session
from debugger.slices import finish
from debugger.templates import Template, check_template, end_state, parse_template, save_template
from tests.paths import REPO
from tests.unit.debugger.programs import LOOP, MACHINE, length, session
from tests.unit.vm.programs import code

FILES = sorted((REPO / "config" / "templates").glob("*.toml"))


def test_there_is_a_gallery() -> None:
    assert len(FILES) >= 12


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_templates_end_as_they_say(path: Path) -> None:
    template = parse_template(path.read_text())
    assert template.name == path.stem
    assert len(template.explanation) > 80
    assert finish(check_template(template, MACHINE)) == []
    run = Session(template.program(), MACHINE)
    steps = length(run)
    assert all(0 <= note.step <= steps for note in template.notes)


def test_a_wrong_end_state_is_told() -> None:
    template = parse_template(FILES[0].read_text())
    wrong = msgspec.structs.replace(
        template, expected=msgspec.structs.replace(template.expected, halt="revert", stack=[1])
    )
    assert [line.split(":")[0] for line in finish(check_template(wrong, MACHINE))] == ["halt", "stack"]


def test_users_templates_come_from_sessions() -> None:
    run = session(code(2, 3, "ADD", 0, "MSTORE", 32, 0, "RETURN"))
    template = finish(save_template(run, "mine", "Mine", "Adds two and three."))
    assert (template.expected.halt, template.expected.steps) == ("return", 8)
    assert finish(check_template(msgspec.convert(msgspec.to_builtins(template), Template), MACHINE)) == []
    assert finish(end_state(template, MACHINE)).step == 8
    with pytest.raises(InvalidTemplate):
        finish(save_template(session(LOOP), "long", "Long", "Too long."))


@pytest.mark.parametrize(
    "text",
    ["", "name = 1", "[[", 'name = "x"\ntitle = "t"\nexplanation = "e"\nassembly = "NOPE"\n[expected]\nhalt = "stop"'],
)
def test_bad_templates_are_refused(text: str) -> None:
    with pytest.raises(InvalidTemplate):
        parse_template(text)


def test_the_assembler_inverts_the_disassembler() -> None:
    source = "PUSH 300 a: PUSH @b JUMP PUSH4 1 b: PUSH @a  # end\nPUSH0 STOP"
    listing = [f"{i.name} {i.data.hex()}".strip() for i in disassemble(assemble(source), LATEST_FORK)]
    assert listing == [
        "PUSH2 012c", "JUMPDEST", "PUSH2 000d", "JUMP", "PUSH4 00000001", "JUMPDEST", "PUSH2 0003", "PUSH0", "STOP",
    ]  # fmt: skip


@pytest.mark.parametrize("text", ["PUSH", "PUSH x", "PUSH1 256", "JUMP @x", "PUSH @nowhere", "a: a:", "A:", "PUSH -1"])
def test_bad_assembly_is_refused(text: str) -> None:
    with pytest.raises(InvalidTemplate):
        assemble(text)
