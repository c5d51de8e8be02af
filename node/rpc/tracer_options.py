"""The options of ``debug_trace*``: which tracer, with which options, and how its result is written in JSON.

Options are read as geth's JSON decoder reads them: any case, unknown names ignored, null for the default.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, Final, NamedTuple, TypeVar

import msgspec

from node.api.errors import InvalidParams
from node.api.tracing import MakeTracer
from node.rpc import format_traces
from node.tracers.calls import CallOptions, CallTracer
from node.tracers.console import ConsoleTracer
from node.tracers.erc7562 import Erc7562Options, Erc7562Tracer
from node.tracers.flat_calls import FlatCallOptions, FlatCallTracer
from node.tracers.mux import MuxTracer, NoopTracer
from node.tracers.preimages import PreimageTracer
from node.tracers.prestate import PrestateOptions, PrestateTracer
from node.tracers.selectors import SelectorTracer
from node.tracers.struct_logs import StructLogOptions, StructLogTracer
from vm.interruption import allow

NAME_CHARACTERS: Final = 60
"""Characters of an unknown tracer's name that its error message repeats."""
_JAVASCRIPT: Final = frozenset(
    (
        *("4byteTracerLegacy", "bigramTracer", "callTracerLegacy", "evmdisTracer", "noopTracerLegacy"),
        *("opcountTracer", "prestateTracerLegacy", "trigramTracer", "unigramTracer"),
    )
)
"""Tracers that come with geth as scripts."""

OptionsT = TypeVar("OptionsT", bound=msgspec.Struct)

_DURATION: Final = re.compile(r"[-+]?(0|(\d++\.?\d*+|\.\d++)(ns|us|µs|μs|ms|s|m|h))+")
"""A duration of Go's time.ParseDuration."""
_DURATION_PART: Final = re.compile(r"(\d+\.?\d*|\.\d+)(ns|us|µs|μs|ms|s|m|h)")
_UNITS_S: Final = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "μs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}


class WantedTracer(NamedTuple):
    """A tracer that a request names."""

    make: MakeTracer
    shown: Callable[[Any], Any]
    """Its result in JSON."""
    timeout_s: float | None = None
    """Time for each transaction, if the request has said."""

    def begin(self) -> None:
        """A transaction is traced from now on."""
        if self.timeout_s is not None:
            allow(self.timeout_s)


def tracer_of(options: dict[str, Any]) -> WantedTracer:
    """The tracer that a request's options name. Raises `InvalidParams`."""
    timeout_s = timeout_of(options)
    name = option(options, "tracer")
    if name not in (None, ""):
        return _named(name, option(options, "tracerConfig"))._replace(timeout_s=timeout_s)
    read = read_options(StructLogOptions, options, "the trace options")
    read.check()
    return WantedTracer(
        lambda run: StructLogTracer(run, read, format_traces.struct_log_size), format_traces.struct_logs, timeout_s
    )


def _named(name: object, config: object) -> WantedTracer:
    read = _TRACERS.get(name) if isinstance(name, str) else None
    if read is not None:
        return read(config)
    if isinstance(name, str) and (name in _JAVASCRIPT or "{" in name):
        raise InvalidParams(f"tracers in JavaScript are not run here; there are {', '.join(sorted(_TRACERS))}")
    raise InvalidParams(f"no tracer {str(name)[:NAME_CHARACTERS]!r}; there are {', '.join(sorted(_TRACERS))}")


def _calls(config: object) -> WantedTracer:
    options = read_options(CallOptions, config, "tracerConfig of callTracer")
    return WantedTracer(lambda run: CallTracer(run, options), format_traces.call_tree)


def _flat_calls(config: object) -> WantedTracer:
    options = read_options(FlatCallOptions, config, "tracerConfig of flatCallTracer")
    return WantedTracer(lambda run: FlatCallTracer(run, options), format_traces.flat_calls)


def _prestate(config: object) -> WantedTracer:
    options = read_options(PrestateOptions, config, "tracerConfig of prestateTracer")
    options.check()
    return WantedTracer(lambda run: PrestateTracer(run, options), format_traces.prestate)


def _erc7562(config: object) -> WantedTracer:
    options = read_options(Erc7562Options, config, "tracerConfig of erc7562Tracer")
    options.check()
    return WantedTracer(lambda run: Erc7562Tracer(run, options), format_traces.user_operation)


def _mux(config: object) -> WantedTracer:
    if not isinstance(config or {}, dict):
        raise InvalidParams("tracerConfig of muxTracer: expected an object of tracers and their options")
    tracers = {inner: _named(inner, options) for inner, options in dict(config or {}).items()}  # type: ignore[call-overload]
    makers = {inner: tracer.make for inner, tracer in tracers.items()}
    return WantedTracer(
        lambda run: MuxTracer(run, makers),
        lambda results: {inner: tracer.shown(results[inner]) for inner, tracer in tracers.items()},
    )


_TRACERS: Final[dict[str, Callable[[object], WantedTracer]]] = {
    "callTracer": _calls,
    "flatCallTracer": _flat_calls,
    "prestateTracer": _prestate,
    "erc7562Tracer": _erc7562,
    "muxTracer": _mux,
    "consoleTracer": lambda _config: WantedTracer(lambda _run: ConsoleTracer(), list),
    "4byteTracer": lambda _config: WantedTracer(SelectorTracer, format_traces.selector_counts),
    "keccak256PreimageTracer": lambda _config: WantedTracer(lambda _run: PreimageTracer(), format_traces.preimages),
    "noopTracer": lambda _config: WantedTracer(lambda _run: NoopTracer(), lambda _nothing: {}),
}


def read_options(form: type[OptionsT], given: object, what: str) -> OptionsT:
    """The options of a tracer. Raises `InvalidParams` for values of a wrong type."""
    if given is None:
        return form()
    if not isinstance(given, dict):
        raise InvalidParams(f"{what}: expected an object")
    names = {name.lower(): name for name in form.__struct_encode_fields__}
    known = {names[key.lower()]: value for key, value in given.items() if key.lower() in names and value is not None}
    try:
        return msgspec.convert(known, form)
    except msgspec.ValidationError as error:
        raise InvalidParams(f"{what}: {error}") from None


def option(given: dict[str, Any], name: str) -> Any:
    """The value of one option, None if it is not given."""
    return next((value for key, value in given.items() if key.lower() == name.lower()), None)


def timeout_of(given: dict[str, Any]) -> float | None:
    """The seconds of ``timeout``, a duration as Go writes it; None if it is not given. Raises `InvalidParams`.

    >>> timeout_of({"timeout": "1m30s"}), timeout_of({"timeout": "200ms"}), timeout_of({})
    (90.0, 0.2, None)
    """
    timeout = option(given, "timeout")
    if timeout is None:
        return None
    if not isinstance(timeout, str) or len(timeout) > 64 or not _DURATION.fullmatch(timeout):
        raise InvalidParams(f"timeout: {str(timeout)[:60]!r} is not a duration such as '5s' or '1m30s'")
    seconds = sum(float(number) * _UNITS_S[unit] for number, unit in _DURATION_PART.findall(timeout))
    return -seconds if timeout.startswith("-") else seconds
