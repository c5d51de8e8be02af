"""Every setting at, around and far beyond its limits is taken, or refused with its name, a hint and status 78."""

from __future__ import annotations

import math
from pathlib import Path

import msgspec
import pytest

from chain.errors import EXIT_CONFIG, ZvmdError
from node.daemon.opening import store_options
from node.daemon.serving import rpc_limits, wire_limits
from node.settings import SECTIONS, Settings, load_settings
from storage.wal import PAGE
from storage.wal.segments import MIN_SEGMENT_SIZE
from tests.setting_edges import Edge, edges, variable

EDGES = list(edges())
NAMES = sorted({edge.name for edge in EDGES})


def loaded(environ: dict[str, str], file: Path | None = None) -> Settings | ZvmdError:
    try:
        return load_settings(flags={}, environ=environ, file=file).settings
    except ZvmdError as error:
        return error


def refused(edge: Edge) -> bool:
    """Whether the value is refused, as it must be; a taken one makes the limits that the parts are given."""
    settings = loaded({variable(edge.name): edge.text})
    if isinstance(settings, ZvmdError):
        assert settings.exit_code == EXIT_CONFIG
        assert settings.hint
        assert edge.name in str(settings)
        assert len(str(settings)) < 1_000
        return True
    assert settings.data_dir.is_absolute()
    assert store_options(settings).segment_size_bytes % PAGE == 0
    assert store_options(settings).segment_size_bytes >= MIN_SEGMENT_SIZE
    rpc_limits(settings)
    wire_limits(settings)
    for section in SECTIONS:
        values = msgspec.structs.astuple(getattr(settings, section))
        assert all(math.isfinite(value) for value in values if isinstance(value, float))
    return False


@pytest.mark.parametrize("name", NAMES)
def test_a_setting_is_taken_or_refused(name: str) -> None:
    of_this = [edge for edge in EDGES if edge.name == name]
    outcomes = {edge: refused(edge) for edge in of_this}
    assert not [edge for edge, was_refused in outcomes.items() if edge.limit and was_refused]
    assert any(outcomes.values()), "something must be refused"


def test_every_number_has_both_limits() -> None:
    """Without an upper one, settings of 1e300 seconds or 2**200 gas passed the check and ended in a traceback."""
    for section, kind in SECTIONS.items():
        for field in msgspec.structs.fields(kind):
            if hasattr(field.type, "__metadata__"):
                if field.type.__origin__ is str:
                    continue
                limits = field.type.__metadata__[0]
                assert limits.le is not None, f"{section}.{field.name}"
                assert (limits.ge, limits.gt) != (None, None), f"{section}.{field.name}"
            else:
                assert field.type not in (int, float), f"{section}.{field.name} has no limits"


@pytest.mark.parametrize("text", ["true", "[1]", "1.5", "'x'", "{a = 1}", "1979-05-27", "inf", "nan", "9" * 5_000])
@pytest.mark.parametrize("name", ["limits.body_bytes", "storage.checkpoint_seconds", "http.host", "node.dev"])
def test_values_of_other_types_in_a_file(tmp_path: Path, name: str, text: str) -> None:
    section, key = name.split(".")
    file = tmp_path / "zvmd.toml"
    file.write_text(f"[{section}]\n{key} = {text}\n")
    settings = loaded({}, file)
    if isinstance(settings, ZvmdError):
        assert settings.exit_code == EXIT_CONFIG
    else:
        assert (name, text) in {("storage.checkpoint_seconds", "1.5"), ("http.host", "'x'"), ("node.dev", "true")}
