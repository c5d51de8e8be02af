"""The worked example "Add a chain setting": one file changed, and the setting survives a crash and a checkpoint."""

from __future__ import annotations

from pathlib import Path

from tests.house.worked_examples import apply_example, run_python

SCRIPT = """
import sys
from pathlib import Path
from node.engine.requests import Cheat, Control
from tests.durability.nodes import LocalNode

def extra_data(node):
    node.mine()
    return node.store.head.extra_data.decode()

place = Path(sys.argv[1])
node = LocalNode(place)
said = [extra_data(node)]
(snapshot,) = node.ask(lambda done: Cheat(done, "snapshot"))
node.ask(lambda done: Control(done, "extra_data", b"mine"))
said.append(extra_data(node))
node.close()  # as a kill: the log is replayed
node = LocalNode(place)
assert node.opened.recovery.blocks == 2
said.append(extra_data(node))
node.checkpoint()
node.close()
node = LocalNode(place)  # from the checkpoint
assert node.opened.recovery.blocks == 0
said.append(extra_data(node))
node.ask(lambda done: Cheat(done, "revert", (snapshot,)))
said.append(extra_data(node))
node.close()
print(*said)
"""


def test_a_setting_of_one_file_survives_a_crash(tmp_path: Path) -> None:
    root = apply_example("Add a chain setting", tmp_path)
    assert run_python(root, "-c", SCRIPT, str(tmp_path / "data")) == "zvmd mine mine mine zvmd\n"
