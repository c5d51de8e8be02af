"""From the options of ``debug_trace*`` to the tracer they name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, TypeVar

import msgspec

from chain.receipts import Log
from node.rpc.errors import InvalidParams
from node.tracers.calls import CallOptions, CallTracer, FlatCallTracer
from node.tracers.prestate import PrestateOptions, PrestateTracer
from node.tracers.run import RunTracer, TracedRun
from node.tracers.selectors import SelectorTracer
from node.tracers.struct_logs import StructLogOptions, StructLogTracer
from vm.message import Message, Outcome
from vm.transaction import TransactionResult

MakeTracer = Callable[[TracedRun], RunTracer]
OptionsT = TypeVar("OptionsT")

_RUN_OPTIONS: Final = frozenset(("tracer", "tracerConfig", "timeout", "reexec", "stateOverrides", "blockOverrides"))
"""Options of the request, not of the tracer; ``timeout`` and ``reexec`` mean nothing here: gas bounds a run."""


class NoopTracer(RunTracer):
    """Hears everything and says nothing."""

    def result(self, ended: TransactionResult) -> dict[str, Any]:  # noqa: ARG002
        """An empty object."""
        return {}


class MuxTracer(RunTracer):
    """Several tracers in one run."""

    def __init__(self, run: TracedRun, makers: Mapping[str, MakeTracer]) -> None:
        self._tracers = {name: make(run) for name, make in makers.items()}

    def enter(self, message: Message) -> None:
        """To all."""
        for tracer in self._tracers.values():
            tracer.enter(message)

    def step(self, frame: Any) -> None:
        """To all."""
        for tracer in self._tracers.values():
            tracer.step(frame)

    def leave(self, message: Message, outcome: Outcome) -> None:
        """To all."""
        for tracer in self._tracers.values():
            tracer.leave(message, outcome)

    def log(self, log: Log) -> None:
        """To all."""
        for tracer in self._tracers.values():
            tracer.log(log)

    def result(self, ended: TransactionResult) -> dict[str, Any]:
        """What each says, by its name."""
        return {name: tracer.result(ended) for name, tracer in self._tracers.items()}


def tracer_of(options: dict[str, Any]) -> MakeTracer:
    """What makes the tracer that a request's options name. Raises `InvalidParams`."""
    name = options.get("tracer")
    if name in (None, ""):
        lines = {key: value for key, value in options.items() if key not in _RUN_OPTIONS}
        read = _read(StructLogOptions, lines, "the trace options")
        return lambda run: StructLogTracer(run, read)
    return _named(name, options.get("tracerConfig") or {}, inside_mux=False)


def _named(name: object, config: object, *, inside_mux: bool) -> MakeTracer:
    if name == "muxTracer" and not inside_mux:
        if not isinstance(config, dict) or not config:
            raise InvalidParams("muxTracer takes an object of tracers and their options as tracerConfig")
        makers = {inner: _named(inner, options or {}, inside_mux=True) for inner, options in config.items()}
        return lambda run: MuxTracer(run, makers)
    make = _TRACERS.get(name) if isinstance(name, str) else None
    if make is None:
        raise InvalidParams(f"no tracer {str(name)[:60]!r}; there are {', '.join(sorted(_TRACERS))}, muxTracer")
    return make(config)


def _read(form: type[OptionsT], given: object, what: str) -> OptionsT:
    try:
        return msgspec.convert(given, form)
    except msgspec.ValidationError as error:
        raise InvalidParams(f"{what}: {error}") from None


def _calls(config: object) -> MakeTracer:
    options = _read(CallOptions, config, "tracerConfig of callTracer")
    return lambda run: CallTracer(run, options)


def _prestate(config: object) -> MakeTracer:
    options = _read(PrestateOptions, config, "tracerConfig of prestateTracer")
    return lambda run: PrestateTracer(run, options)


_TRACERS: Final[dict[str, Callable[[object], MakeTracer]]] = {
    "callTracer": _calls,
    "flatCallTracer": lambda _config: FlatCallTracer,
    "prestateTracer": _prestate,
    "4byteTracer": lambda _config: SelectorTracer,
    "noopTracer": lambda _config: lambda _run: NoopTracer(),
}
