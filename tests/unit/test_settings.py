"""Settings: precedence, provenance, and refusals that name the mistake."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path

import pytest
from click.testing import CliRunner

from node import resources
from node.cli.config import config
from node.ops.errors import InvalidSetting, UnknownSetting, UnreadableSettings
from node.settings import FLAGS, find_settings_file, load_settings
from tests.paths import REPO


def write(folder: Path, text: str) -> Path:
    """A zvmd.toml with this text."""
    file = folder / "zvmd.toml"
    file.write_text(text)
    return file


def test_defaults_need_nothing() -> None:
    loaded = load_settings(flags={}, environ={})
    assert loaded.settings.http.port == 8545
    assert loaded.settings.quic.port == 4433
    assert {origin for _, _, origin in loaded.items()} == {"default"}


def test_each_origin_outranks_the_next(tmp_path: Path) -> None:
    file = write(tmp_path, "[http]\nport = 1\n[quic]\nport = 1\n[node]\nchain_id = 1\naccounts = 1\n")
    credentials = tmp_path / "credentials"
    credentials.mkdir()
    for name in ("http.port", "quic.port", "node.chain_id"):
        (credentials / name).write_text("2\n")
    environ = {"ZVMD_HTTP__PORT": "3", "ZVMD_QUIC__PORT": "3", "CREDENTIALS_DIRECTORY": str(credentials)}
    loaded = load_settings(flags={"http_port": 4}, environ=environ, file=file)
    origins = {name: (value, origin) for name, value, origin in loaded.items()}
    assert origins["http.port"] == (4, "flag --http-port")
    assert origins["quic.port"] == (3, "env ZVMD_QUIC__PORT")
    assert origins["node.chain_id"] == (2, "credential node.chain_id")
    assert origins["node.accounts"] == (1, f"file {file}")
    assert origins["node.dev"] == (False, "default")


def test_a_flag_not_given_changes_nothing() -> None:
    loaded = load_settings(flags=dict.fromkeys(FLAGS), environ={"ZVMD_NODE__DEV": "true"})
    assert loaded.settings.node.dev is True
    assert load_settings(flags={"dev": False}, environ={"ZVMD_NODE__DEV": "1"}).settings.node.dev is True


def test_lists_are_separated_by_commas_where_they_are_not_from_a_file(tmp_path: Path) -> None:
    file = write(tmp_path, '[http]\norigins = ["http://a", "null"]\nhosts = []\n')
    in_file = load_settings(flags={"allow_origin": ()}, environ={}, file=file).settings.http
    assert (in_file.origins, in_file.hosts) == (("http://a", "null"), ())
    environ = {"ZVMD_HTTP__ORIGINS": "http://a, http://b", "ZVMD_HTTP__HOSTS": ""}
    from_environment = load_settings(flags={}, environ=environ, file=file).settings.http
    assert (from_environment.origins, from_environment.hosts) == (("http://a", "http://b"), ())
    flags = {"allow_origin": ("http://c,http://d", "null")}
    loaded = load_settings(flags=flags, environ=environ, file=file)
    assert loaded.settings.http.origins == ("http://c", "http://d", "null")
    assert loaded.origins["http.origins"] == "flag --allow-origin"
    for wrong in ("origins = 1", "origins = [1]", 'origins = [["a"]]', "hosts = true"):
        with pytest.raises(InvalidSetting, match=r"http\."):
            load_settings(flags={}, environ={}, file=write(tmp_path, f"[http]\n{wrong}\n"))


def test_every_flag_names_a_setting() -> None:
    names = {name for name, _, _ in load_settings(flags={}, environ={}).items()}
    assert set(FLAGS.values()) <= names


@pytest.mark.parametrize(
    ("text", "suggestion"),
    [
        ("[http]\nprot = 1", "http.port"),
        ("[htpp]\nport = 1", "http"),
        ("[node]\nhard_fork = 'osaka'", "node.hardfork"),
    ],
)
def test_unknown_names_are_refused_with_the_nearest(tmp_path: Path, text: str, suggestion: str) -> None:
    with pytest.raises(UnknownSetting, match=f"did you mean '{suggestion}'"):
        load_settings(flags={}, environ={}, file=write(tmp_path, text))


def test_unknown_environment_is_refused_but_other_variables_are_not_ours() -> None:
    with pytest.raises(UnknownSetting, match=r"ZVMD_HTTP__PROT.*did you mean 'http.port'"):
        load_settings(flags={}, environ={"ZVMD_HTTP__PROT": "1"})
    load_settings(flags={}, environ={"ZVMD_SHARED": "x", "HTTP__PORT": "y"})


@pytest.mark.parametrize(
    ("section", "line"),
    [
        ("http", "port = 65536"), ("http", "port = '8545x'"), ("node", "accounts = -1"),
        ("node", "hardfork = 'dao'"), ("storage", "checkpoint_seconds = 0"), ("node", "chain_id = 1.5"),
        ("limits", "body_bytes = 0"), ("log", "level = 'loud'"),
    ],
)  # fmt: skip
def test_values_out_of_range_are_refused(tmp_path: Path, section: str, line: str) -> None:
    with pytest.raises(InvalidSetting, match=rf"{section}\.{line.split()[0]}"):
        load_settings(flags={}, environ={}, file=write(tmp_path, f"[{section}]\n{line}\n"))


@pytest.mark.parametrize("content", [b"[http", b"\xff\xfe", None])
def test_an_unreadable_file_is_refused(tmp_path: Path, content: bytes | None) -> None:
    file = tmp_path / "zvmd.toml"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(UnreadableSettings, match=r"zvmd\.toml"):
        load_settings(flags={}, environ={}, file=file)


def test_the_settings_file_is_found_in_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    user = tmp_path / "config"
    environ = {"XDG_CONFIG_HOME": str(user)}
    assert find_settings_file({**environ, "ZVMD_CONFIG": "/nowhere/x.toml"}) == Path("/nowhere/x.toml")
    (user / "zvmd").mkdir(parents=True)
    (user / "zvmd" / "zvmd.toml").write_text("")
    assert find_settings_file(environ) == user / "zvmd" / "zvmd.toml"
    (tmp_path / "zvmd.toml").write_text("")
    assert find_settings_file(environ) == Path("zvmd.toml")


def test_the_annotated_file_names_every_setting_with_its_default() -> None:
    lines = resources.text("config/zvmd.toml").splitlines()
    uncommented = "\n".join(line.removeprefix("# ") if " = " in line else line for line in lines if line)
    tree = tomllib.loads(uncommented)
    said = {f"{section}.{key}": value for section, values in tree.items() for key, value in values.items()}
    defaults = {name: value for name, value, _ in load_settings(flags={}, environ={}).items()}
    assert said == json.loads(json.dumps(defaults))  # TOML has lists where settings have tuples


def test_config_show_is_toml_and_hides_secrets(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ZVMD_NODE__MNEMONIC", "legal winner thank year wave")
    monkeypatch.setenv("ZVMD_LOG__LEVEL", "debug")
    result = CliRunner().invoke(config, ["show", "--origin"], catch_exceptions=False)
    assert result.exit_code == 0
    assert "winner" not in result.output
    assert tomllib.loads(result.output)["log"]["level"] == "debug"
    assert "# env ZVMD_LOG__LEVEL" in result.output


def test_config_init_writes_once(tmp_path: Path) -> None:
    target = tmp_path / "new" / "zvmd.toml"
    assert CliRunner().invoke(config, ["init", str(target)]).exit_code == 0
    assert load_settings(flags={}, environ={}, file=target).settings.http.port == 8545
    again = CliRunner().invoke(config, ["init", str(target)])
    assert isinstance(again.exception, UnreadableSettings)


@pytest.mark.parametrize("name", [name for name, _, _ in load_settings(flags={}, environ={}).items()])
def test_a_setting_sets_something(name: str) -> None:
    section, key = name.split(".")
    read = re.compile(rf"\b(?:settings|wanted|limits|{section})\.{key}\b")
    assert any(read.search(path.read_text()) for path in (REPO / "node").rglob("*.py") if path.stem != "settings")
