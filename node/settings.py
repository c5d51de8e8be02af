"""One typed tree of settings, with origins: flag > environment > credential > zvmd.toml > default.

A setting is named ``section.key``. It comes from a command-line flag, from ``ZVMD_SECTION__KEY``, from a file
of its name in ``$CREDENTIALS_DIRECTORY`` (systemd's LoadCredential), or from ``zvmd.toml``. A name that does
not exist is an error wherever it appears.
"""

from __future__ import annotations

import difflib
import os
import reprlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_origin

import msgspec
from msgspec import Meta

from chain.forks import CODE_BYTES_MAX, LATEST_FORK
from chain.gas_schedule import SCHEDULES
from debugger.toml_keys import toml_of
from node.ops.errors import InvalidSetting, UnknownSetting, UnreadableSettings
from node.ops.reading import read_limited

DEV_MNEMONIC = "test test test test test test test test test test test junk"
ENVIRONMENT_PREFIX = "ZVMD_"
SECRETS = frozenset({"node.mnemonic"})
"""Settings whose value is never printed, not even in an error."""
PATHS = frozenset({
    "node.data_dir", "node.genesis", "vm.jit_dump", "ipc.path", "http.tls_certificate", "http.tls_key",
    "http.client_authority",
})  # fmt: skip
DATA_DIR_VARIABLE = "ZVMD_DATA_DIR"
"""Clients use the same default (`zvmd.endpoint`)."""

TRANSACTION_GAS = SCHEDULES[LATEST_FORK].transaction
Port = Annotated[int, Meta(ge=0, le=65_535)]
Count = Annotated[int, Meta(ge=1, le=2**31 - 1)]
CountOrDefault = Annotated[int, Meta(ge=0, le=2**31 - 1)]
Bytes = Annotated[int, Meta(ge=0, le=2**62)]
Interval = Annotated[float, Meta(gt=0, le=31_536_000)]
"""Seconds, at most a year; a job runs no more often than `node.ops.jobs.LEAST_SECONDS`."""
_short = reprlib.Repr()
_short.maxstring = 200
FILE_BYTES_MAX = 2**20
"""Largest size of zvmd.toml and of each credential, bytes."""
Hardfork = Literal[
    "frontier", "homestead", "tangerine_whistle", "spurious_dragon", "byzantium", "constantinople",
    "petersburg", "istanbul", "berlin", "london", "paris", "shanghai", "cancun", "prague", "osaka", "bpo1", "bpo2",
    "latest",
]  # fmt: skip


class NodeSettings(msgspec.Struct, frozen=True, kw_only=True):
    """The chain and where it is kept."""

    data_dir: str = "~/.local/share/zvmd"
    chain_id: Annotated[int, Meta(ge=1, le=2**63 - 37)] = 31_337
    """At most the limit of EIP-2294."""
    dev: bool = False
    cheats: bool = False
    """Allow development calls (``evm_*``, ``anvil_*`` ...), which change the chain directly; ``dev`` implies it."""
    genesis: str = ""
    accounts: Annotated[int, Meta(ge=0, le=1_000)] = 10
    mnemonic: str = DEV_MNEMONIC
    block_gas_limit: Annotated[int, Meta(ge=5_000, le=2**63 - 1)] = 30_000_000
    hardfork: Hardfork = "osaka"
    """``bpo1`` and ``bpo2``: Osaka with their blob parameters (EIP-7892); ``latest``: the newest of these."""
    client_version: Annotated[str, Meta(max_length=200)] = ""
    """Answer of ``web3_clientVersion``; empty: zvmd's version, after ``anvil/`` on a development chain."""
    code_size_limit: Annotated[int, Meta(ge=0, le=2**31 - 1)] = CODE_BYTES_MAX
    """Bytes of a contract on a new development chain, twice as many of creation code (EIP-170, EIP-3860); 0: any."""
    dev_contracts: bool = True
    """A new development chain begins with the CREATE2 deployer, Multicall3 and the ERC-1820 registry."""
    tx_gas_cap: bool = False
    """A new development chain caps a transaction's gas at 2**24 from Osaka on (EIP-7825), as public chains do."""
    block_time_seconds: Annotated[float, Meta(ge=0, le=86_400)] = 0.0


class HttpSettings(msgspec.Struct, frozen=True, kw_only=True):
    """JSON-RPC over HTTP/1.1 and WebSocket, and over HTTP/3."""

    host: str = "127.0.0.1"
    port: Port = 8545
    hosts: tuple[str, ...] = ("*.internal", "<local>")
    """Names in a request's ``Host`` that are accepted besides IP addresses, ``localhost`` and ``*.localhost``."""
    origins: tuple[str, ...] = ("auto",)
    """Pages that may call the standard namespaces; ``auto``: all on a chain of the public test mnemonic, else none."""
    http3: bool = True
    """JSON-RPC over HTTP/3 on the port of ``quic``."""
    tls: Literal["off", "auto", "files"] = "off"
    """``auto``: with a certificate of the node's own authority; ``files``: with the two that follow."""
    tls_certificate: str = ""
    tls_key: str = ""
    client_authority: str = ""
    """Authorities whose certificates are required of clients; ``auto``: the node's own; empty: none is required."""
    require_token: bool = False
    """Whether all but the node's machine need a token, also on a chain of the public test mnemonic."""


class QuicSettings(msgspec.Struct, frozen=True, kw_only=True):
    """The framed protocol on QUIC."""

    host: str = "127.0.0.1"
    port: Port = 4433
    library: Literal["qh3", "aioquic"] = "qh3"
    """What the listener speaks QUIC with; clients need not know. aioquic comes with ``zvmd[aioquic]``."""


class IpcSettings(msgspec.Struct, frozen=True, kw_only=True):
    """The unix sockets: JSON-RPC as geth frames it, and the frames of QUIC."""

    enabled: bool = True
    path: str = ""
    """Where the socket for JSON-RPC lies, and beside it, as ``.sock``, the other one. Empty: in the data directory."""


class StorageSettings(msgspec.Struct, frozen=True, kw_only=True):
    """The log, the checkpoints and how much history stays."""

    segment_size_bytes: Annotated[int, Meta(ge=64 * 1024, le=2**32, multiple_of=4096)] = 64 * 1024 * 1024
    """A multiple of the page size; the file is allocated at once."""
    engine: Literal["auto", "leveldb", "rocksdb"] = "auto"
    """The engine of the state store of a new data directory; ``auto``: LevelDB where its package is, else RocksDB."""
    checkpoint_blocks: Count = 256
    checkpoint_seconds: Interval = 5.0
    block_deltas: Literal["auto", "on", "off"] = "auto"
    """Whether the log also holds what a block did, so that replay need not run it: ``auto``, for heavy blocks."""
    compress_segments: bool = True
    """Whether sealed segments of the log are compressed; compressed ones stay readable either way."""
    retention_blocks: Annotated[int, Meta(ge=0, le=2**62)] = 0
    space_warn_bytes: Bytes = 2 * 2**30
    space_read_only_bytes: Bytes = 512 * 2**20
    ballast_bytes: Bytes = 64 * 2**20
    export_seconds: Annotated[float, Meta(ge=0, le=31_536_000)] = 86_400.0
    exports_kept: Count = 2
    index_idle_seconds: Annotated[float, Meta(ge=0.1, le=86_400)] = 30.0
    """Idle time after which the process that writes the index exits."""


class SessionSettings(msgspec.Struct, frozen=True, kw_only=True):
    """How long debug sessions are kept, and how many."""

    keep_days: Annotated[float, Meta(ge=0, le=36_500)] = 30.0
    max_sessions: Annotated[int, Meta(ge=1, le=1_024)] = 1_000
    max_bytes: Annotated[int, Meta(ge=2**20, le=2**62)] = 2**30
    file_bytes: Annotated[int, Meta(ge=4_096, le=7 * 2**20)] = 2**20
    expiry_seconds: Interval = 60.0


class VmSettings(msgspec.Struct, frozen=True, kw_only=True):
    """How contracts are executed."""

    engine: Literal["interpreter", "jit", "auto"] = "auto"
    """``auto`` compiles hot code in the background; ``jit`` compiles all at first sight, for tests."""
    jit_dump: str = ""
    """A directory for blocks, IR and assembly of what is compiled."""
    compiler_idle_seconds: Interval = 30.0
    """Time without work after which the compiling process of ``auto`` ends; the next work starts another."""


class LogSettings(msgspec.Struct, frozen=True, kw_only=True):
    """What the daemon writes to standard error."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    format: Literal["auto", "pretty", "json"] = "auto"
    quiet: bool = False
    """Print nothing on standard output but READY: no accounts, no transactions, no failed calls, no console.log.
    Transactions are printed with ``node.dev``, on a terminal, and where ``format`` is not ``auto``."""
    abi: tuple[str, ...] = ()
    """Folders of compiled contracts (Foundry's ``out``, Hardhat's ``artifacts``), to print names and reasons with."""
    slow_callback_ms: Annotated[float, Meta(ge=0, le=60_000)] = 0.0
    """Measure the event loop, and warn of callbacks that hold it for longer; 0: do not measure."""


class LimitSettings(msgspec.Struct, frozen=True, kw_only=True):
    """What one client or one request may take."""

    body_bytes: Annotated[int, Meta(ge=1_024, le=2**30)] = 5 * 1024 * 1024
    answer_bytes: Annotated[int, Meta(ge=8_192, le=2**30)] = 25 * 1024 * 1024
    batch_calls: Annotated[int, Meta(ge=1, le=100_000)] = 1_000
    json_depth: Annotated[int, Meta(ge=8, le=512)] = 64
    http_connections: Annotated[int, Meta(ge=1, le=65_535)] = 256
    quic_connections: Annotated[int, Meta(ge=1, le=65_535)] = 128
    ipc_connections: Annotated[int, Meta(ge=1, le=65_535)] = 512
    """Each of the two unix sockets has as many."""
    connections_per_peer: Annotated[int, Meta(ge=1, le=65_535)] = 128
    streams_per_connection: Annotated[int, Meta(ge=1, le=65_535)] = 32
    subscriptions_per_connection: Annotated[int, Meta(ge=1, le=65_535)] = 64
    log_query_blocks: CountOrDefault = 0
    log_query_results: CountOrDefault = 0
    """0: on a development chain only the limits of every answer, elsewhere those of `node.rpc.limits`."""
    call_gas: Annotated[int, Meta(ge=TRANSACTION_GAS, le=2**63 - 1)] = 50_000_000
    """The block's gas limit is allowed even if it is higher."""
    call_seconds: Annotated[float, Meta(ge=0.01, le=86_400)] = 5.0
    call_memory_bytes: Annotated[int, Meta(ge=2**20, le=2**62)] = 128 * 2**20
    client_seconds: Annotated[float, Meta(ge=0.01, le=86_400)] = 60.0
    """Processor time that all waiting requests of a client should take."""
    held_bytes: Annotated[int, Meta(ge=2**20, le=2**62)] = 256 * 2**20
    pool_transactions: Count = 10_000
    answer_cache_bytes: Bytes = 4 * 2**20
    """Answers of ``eth_call`` kept for the same call on the same state; 0 keeps none."""
    short_road: bool = True
    """Whether frequent requests and short calls take the roads made for them; else all are handled alike."""


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that can be set, by section."""

    node: NodeSettings = NodeSettings()
    http: HttpSettings = HttpSettings()
    quic: QuicSettings = QuicSettings()
    ipc: IpcSettings = IpcSettings()
    storage: StorageSettings = StorageSettings()
    sessions: SessionSettings = SessionSettings()
    vm: VmSettings = VmSettings()
    log: LogSettings = LogSettings()
    limits: LimitSettings = LimitSettings()

    @property
    def data_dir(self) -> Path:
        """The data directory with ``~`` expanded, absolute. Raises `InvalidSetting` for the default without a home."""
        path = self.node.data_dir
        try:
            return Path(path).expanduser().absolute()
        except (RuntimeError, OSError) as error:
            raise InvalidSetting(f"node.data_dir = {path}: {error} Set HOME, or give --data-dir.") from None


SECTIONS: dict[str, type[msgspec.Struct]] = {field.name: field.type for field in msgspec.structs.fields(Settings)}

FLAGS: dict[str, str] = {
    "data_dir": "node.data_dir",
    "chain_id": "node.chain_id",
    "dev": "node.dev",
    "genesis": "node.genesis",
    "accounts": "node.accounts",
    "mnemonic": "node.mnemonic",
    "block_gas_limit": "node.block_gas_limit",
    "hardfork": "node.hardfork",
    "tx_gas_cap": "node.tx_gas_cap",
    "code_size_limit": "node.code_size_limit",
    "block_time": "node.block_time_seconds",
    "http_host": "http.host",
    "http_port": "http.port",
    "http_tls": "http.tls",
    "allow_origin": "http.origins",
    "quic_host": "quic.host",
    "quic_port": "quic.port",
    "ipc_path": "ipc.path",
    "engine": "vm.engine",
    "jit_dump": "vm.jit_dump",
    "log_level": "log.level",
    "log_format": "log.format",
    "quiet": "log.quiet",
    "abi": "log.abi",
}
"""Parameter of ``zvmd start`` (``--data-dir`` is ``data_dir``) -> the setting it sets."""


@dataclass(frozen=True, slots=True)
class LoadedSettings:
    """Settings and origins: ``default``, ``file PATH``, ``credential NAME``, ``env NAME`` or ``flag --x``."""

    settings: Settings
    origins: Mapping[str, str]

    def items(self) -> Iterator[tuple[str, object, str]]:
        """(name, value, origin) of every setting, in the order of the tree."""
        for section, kind in SECTIONS.items():
            values = getattr(self.settings, section)
            for field in msgspec.structs.fields(kind):
                name = f"{section}.{field.name}"
                yield name, getattr(values, field.name), self.origins.get(name, "default")


def load_settings(
    *, flags: Mapping[str, object], environ: Mapping[str, str], file: Path | None = None
) -> LoadedSettings:
    """The settings in force.

    ``flags`` are the parameters of the command line as in ``FLAGS``; ``None`` (``False`` for a switch, ``()`` for
    an option that may be repeated) means not given. ``file`` is the chosen ``zvmd.toml``; see ``find_settings_file``.
    Raises ``UnknownSetting``, ``InvalidSetting`` or ``UnreadableSettings``.
    """
    tree: dict[str, dict[str, object]] = {section: {} for section in SECTIONS}
    origins: dict[str, str] = {}
    for name, value, origin in _layers(flags, environ, file):
        section, key = name.split(".")
        kind = _field_type(name, origin)
        tree[section][key] = _convert(name, value, kind, origin)
        origins[name] = origin
    return LoadedSettings(msgspec.convert(tree, Settings), origins)


def find_settings_file(environ: Mapping[str, str]) -> Path | None:
    """``$ZVMD_CONFIG``, else the first that exists of ./zvmd.toml, the user's and /etc's; else ``None``.

    A file named by ``$ZVMD_CONFIG`` is returned even when missing: asking for a missing file is an error. So is
    anything of the other names, whatever it is: a file that cannot be used must not be passed over.
    """
    if chosen := environ.get("ZVMD_CONFIG"):
        return _expanded(chosen)
    folders = (Path(), _expanded(environ.get("XDG_CONFIG_HOME") or "~/.config") / "zvmd", Path("/etc/zvmd"))
    return next((folder / "zvmd.toml" for folder in folders if os.path.lexists(folder / "zvmd.toml")), None)


def _expanded(path: str) -> Path:
    """The path with ``~`` replaced if there is a home directory."""
    try:
        return Path(path).expanduser()
    except RuntimeError:
        return Path(path)


def _layers(
    flags: Mapping[str, object], environ: Mapping[str, str], file: Path | None
) -> Iterator[tuple[str, object, str]]:
    """Every given value, weakest origin first."""
    if file is not None:
        yield from _from_file(file)
    if directory := environ.get("CREDENTIALS_DIRECTORY"):
        yield from _from_credentials(Path(directory))
    for variable, value in sorted(environ.items()):
        name = variable.removeprefix(ENVIRONMENT_PREFIX).lower()
        if variable == DATA_DIR_VARIABLE:
            yield "node.data_dir", value, f"env {variable}"
        elif name != variable.lower() and "__" in name:
            yield name.replace("__", ".", 1), value, f"env {variable}"
        elif name != variable.lower() and (meant := _NEARLY.get(name.replace("_", ""))):
            right = ENVIRONMENT_PREFIX + meant.replace(".", "__").upper()
            raise UnknownSetting(f"{variable} sets nothing; did you mean {right}?")
    for flag, given in flags.items():
        if given is not None and given is not False and given != ():
            yield FLAGS[flag], given, f"flag --{flag.replace('_', '-')}"


def is_public_mnemonic(mnemonic: object) -> bool:
    """Whether it is the public test mnemonic, whose keys are not secret."""
    return " ".join(str(mnemonic).split()) == DEV_MNEMONIC


def shown(name: str, value: object) -> object:
    """A setting's value as it may be printed."""
    return "(hidden)" if name in SECRETS and not is_public_mnemonic(value) else value


def _from_file(file: Path) -> Iterator[tuple[str, object, str]]:
    try:
        tree = toml_of(read_limited(file, FILE_BYTES_MAX).decode())
    except (OSError, ValueError, RecursionError) as error:
        raise UnreadableSettings(f"cannot use the settings file {file}: {error}") from error
    origin = f"file {file}"
    for section, values in tree.items():
        if section not in SECTIONS:
            raise _unknown(section, SECTIONS, "section", origin)
        if not isinstance(values, dict):
            raise InvalidSetting(f"[{section}] must be a table ({origin})")
        for key, value in values.items():
            yield f"{section}.{key}", value, origin


def _from_credentials(directory: Path) -> Iterator[tuple[str, object, str]]:
    """Credentials named like a setting (``node.mnemonic``); others, such as tokens and keys, are not read."""
    try:
        present = frozenset(entry.name for entry in directory.iterdir())
        for name in _names():
            if name in present:
                yield name, read_limited(directory / name, FILE_BYTES_MAX).decode().strip(), f"credential {name}"
    except UnicodeDecodeError as error:  # without its content, which may be secret
        raise UnreadableSettings(f"a credential in {directory} is not UTF-8 ({error.reason})") from None
    except OSError as error:
        raise UnreadableSettings(f"cannot read the credentials of $CREDENTIALS_DIRECTORY: {error}") from None


def _names() -> list[str]:
    return [f"{section}.{field.name}" for section, kind in SECTIONS.items() for field in msgspec.structs.fields(kind)]


_NEARLY = {flag.replace("_", ""): name for flag, name in FLAGS.items()}
_NEARLY |= {name.replace(".", "").replace("_", ""): name for name in _names()}
"""Likely misspellings of variables, without the section or one of the two underscores: ``ZVMD_HTTP_PORT``."""


def _field_type(name: str, origin: str) -> Any:
    """The declared type of setting ``section.key``; raises ``UnknownSetting`` with the nearest name."""
    section, _, key = name.partition(".")
    kind = SECTIONS.get(section)
    if kind is None:
        raise _unknown(section, SECTIONS, "section", origin)
    for field in msgspec.structs.fields(kind):
        if field.name == key:
            return field.type
    raise _unknown(name, _names(), "setting", origin)


def _unknown(name: str, known: Mapping[str, object] | list[str], what: str, origin: str) -> UnknownSetting:
    near = difflib.get_close_matches(name, list(known), n=1, cutoff=0.5)
    suggestion = f"; did you mean {near[0]!r}?" if near else ""
    return UnknownSetting(f"there is no {what} {name!r} ({origin}){suggestion}")


def _convert(name: str, value: object, kind: Any, origin: str) -> object:
    if get_origin(kind) is tuple and isinstance(value, str | tuple):  # not from a file: entries are separated by commas
        text = value if isinstance(value, str) else ",".join(value)
        value = [entry.strip() for entry in text.split(",") if entry.strip()]
    try:
        for part in value if isinstance(value, list) else [value]:
            if isinstance(part, str):
                part.encode()
                if "\0" in part:
                    raise ValueError("it holds a NUL character")
        if get_origin(kind) is Literal:
            return _choice(value, get_args(kind))
        converted = msgspec.convert(value, kind, strict=not isinstance(value, str))
        if isinstance(converted, float) and converted != converted:
            raise ValueError("it is not a number")
        if name in PATHS and (converted or name == "node.data_dir"):
            _check_path(str(converted))
    except UnicodeEncodeError:
        raise InvalidSetting(f"{name} cannot be used: it is not UTF-8 ({origin})") from None
    except (ValueError, msgspec.ValidationError) as error:
        said = _short.repr(shown(name, value))
        raise InvalidSetting(f"{name} = {said} cannot be used: {error} ({origin})") from None
    return converted


def _choice(value: object, known: tuple[str, ...]) -> str:
    if str(value).lower() not in known:
        raise ValueError(f"it is one of {', '.join(known)}")
    return str(value).lower()


def _check_path(path: str) -> None:
    """Raises `ValueError` for an unusable path: an empty one would be the working directory."""
    if not path:
        raise ValueError("it is empty")
    try:
        Path(path).expanduser().absolute()
    except (RuntimeError, OSError) as error:  # ``~`` without a home, or a deleted working directory
        raise ValueError(str(error)) from None
