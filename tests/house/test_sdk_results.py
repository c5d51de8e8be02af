"""The SDK's results beside what the node answers with: the same fields, and the JSON of earlier versions."""

from __future__ import annotations

import json
import warnings

import msgspec
import pytest

import debugger.changes
import debugger.diff
import debugger.outcome
import debugger.state
import debugger.state_diff
import debugger.templates
from node.sessions.answers import _shown_row
from storage.index.sessions import SessionRow
from zvmd import results
from zvmd.results import Data, JsonResult, Position, Quantity, SessionChange, result_of

PAIRS = (
    (results.State, debugger.state.State),
    (results.Page, debugger.state.Page),
    (results.SessionLog, debugger.state.LogState),
    (results.CallFrame, debugger.state.CallFrame),
    (results.HaltState, debugger.outcome.HaltState),
    (results.Comparison, debugger.diff.Comparison),
    (results.Divergence, debugger.diff.Divergence),
    (results.StepLine, debugger.diff.StepLine),
    (results.StateDiff, debugger.state_diff.StateDiff),
    (results.Difference, debugger.state_diff.Difference),
    (results.Changes, debugger.changes.Changes),
    (results.Change, debugger.changes.Change),
)
POSITION = {
    "step": 2, "pc": 4, "opcode": "ADD", "gasLeft": 994, "depth": 1, "branch": 0, "reason": "step", "breakpoints": [3],
    "halt": {"reason": "return", "success": True, "gasLeft": 1, "output": "0x0102"}, "ofALaterNode": 7,
}  # fmt: skip


def names(kind: type[msgspec.Struct]) -> dict[str, bool]:
    """Names in JSON, and whether they may be missing."""
    return {field.encode_name: not field.required for field in msgspec.structs.fields(kind)}


@pytest.mark.parametrize(("mine", "nodes"), PAIRS, ids=lambda kind: kind.__name__)
def test_a_result_has_the_fields_of_the_nodes_answer(mine: type[msgspec.Struct], nodes: type[msgspec.Struct]) -> None:
    assert names(mine) == names(nodes)


def test_a_template_has_what_the_nodes_always_has() -> None:
    assert set(names(results.Template)) - {"own"} <= set(names(debugger.templates.Template))


def test_a_line_of_the_list_of_sessions() -> None:
    row = SessionRow(7, "n", ("t",), "osaka", b"", bytes(20), b"", "", 1, 2, 3, 4, pinned=False)
    entry = result_of(results.SessionEntry, _shown_row(row))
    assert set(names(results.SessionEntry)) == set(_shown_row(row))
    assert (entry.name, entry.tags, entry.contract, entry.halt, entry.code_hash) == ("n", ("t",), bytes(20), None, None)


def test_values_are_numbers_and_bytes() -> None:
    position = result_of(Position, POSITION)
    assert (position.gas_left, position.breakpoints) == (994, (3,))
    assert position.halt is not None
    assert position.halt.output == b"\x01\x02"
    assert (repr(Quantity(255)), repr(Data(b"\x01")), json.dumps(Quantity(255))) == ("0xff", "0x01", "255")
    assert position.json is POSITION
    assert position == result_of(Position, {**POSITION, "ofALaterNode": 8}), "compared by its fields"
    with pytest.raises(AttributeError):
        position.step = 3  # type: ignore[misc]


def test_the_dict_of_earlier_versions_is_read_with_a_warning() -> None:
    position = result_of(Position, POSITION)
    for read in (
        lambda: position["gasLeft"] == 994,
        lambda: position.get("halt")["output"] == "0x0102",
        lambda: position.get("missing", 5) == 5,
        lambda: "reason" in position,
        lambda: dict(position) == POSITION,  # type: ignore[call-overload]
        lambda: dict(position.items()) == POSITION,
    ):
        with pytest.warns(DeprecationWarning, match=r"the attributes of zvmd\.results\.Position") as caught:
            assert read()
        assert {warning.filename for warning in caught} == {__file__}, "the warning names the line to change"


def test_a_result_inside_another_has_its_json_too() -> None:
    sent = {"cursor": 1, "session": 2, "command": "step", "driver": "owner", "position": POSITION}
    changed = {"stack": {"0": {"before": None, "after": "0x1"}}, "storage": {"0x5": {"before": "0x0", "after": "0x1"}}}
    change = result_of(SessionChange, {**sent, "changed": changed})
    assert change.position is not None
    assert change.changed is not None
    assert change.position.json is POSITION
    assert (change.changed.stack[0].after, change.changed.storage[Quantity(5)].before) == ("0x1", "0x0")


def test_what_was_not_sent_has_no_json() -> None:
    bare = msgspec.structs.replace(result_of(Position, POSITION), step=9)
    with pytest.raises(AttributeError, match="does not come from a node"):
        _ = bare.json


def test_attributes_do_not_warn() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert result_of(Position, POSITION).json["gasLeft"] == 994
    assert issubclass(Position, JsonResult)
