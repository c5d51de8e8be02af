"""The worked example "Add a session command": one file changes, and the command is there for all who may give it."""

from __future__ import annotations

from pathlib import Path

import pytest

import zvmd
from tests.daemon import Daemon
from tests.house.worked_examples import DAEMON, apply_example, first_on_path, run_python
from tests.rpc import RpcFailed
from zvmd.errors import ZvmdError

METHOD = "zvmd_session_rewind"
CODE = "0x" + "5f50" * 20 + "00"


def test_the_command_is_everywhere_and_its_right_is_enforced(tmp_path: Path) -> None:
    root = apply_example("Add a session command", tmp_path)
    with Daemon(tmp_path / "data", command=DAEMON, environment=first_on_path(root)) as daemon:
        rpc = daemon.rpc()
        number = rpc.call("zvmd_session_create", {"code": CODE})["id"]
        watch, drive = (rpc.call("zvmd_session_share", number, role)["token"] for role in ("watch", "drive"))

        def position() -> int:
            return int(rpc.call("zvmd_session_state", number)["step"])

        rpc.call("zvmd_session_step", number, 9)
        with pytest.raises(RpcFailed, match="has the role watch"):
            rpc.call(METHOD, watch)
        for token, slug in ((watch, "session.watch_only"), (drive, "session.driver")):
            url = f"quic://127.0.0.1:{daemon.quic_port}"
            with zvmd.Node(url, data_dir=daemon.data_dir, token=token) as guest:
                with pytest.raises(ZvmdError) as refused:
                    zvmd.Session(guest, token).call("rewind")
                assert refused.value.code == slug
        assert position() == 9
        rpc.call("zvmd_session_release", number)
        assert rpc.call(METHOD, drive)["step"] == position() == 0
        rpc.call("zvmd_session_drive", number, {"takeOver": True})
        rpc.call("zvmd_session_step", number, 9)
        said = run_python(
            root, "-m", "node.cli.main", "session", "rewind", str(number), "--data-dir", str(daemon.data_dir)
        )
        assert said.startswith("step 0  pc 0  PUSH0")
        assert position() == 0
    assert "Go to the first step of the branch." in run_python(root, "-m", "node.cli.main", "session", "--help")
