"""From the options of ``debug_trace*`` to the tracer they name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from chain.receipts import Log
from chain.types import Address
from node.api.errors import InvalidParams
from node.api.tracing import MakeTracer, RunTracer, TracedRun
from node.tracers.calls import CallOptions, CallTracer
from node.tracers.console import ConsoleTracer
from node.tracers.erc7562 import Erc7562Options, Erc7562Tracer
from node.tracers.flat_calls import FlatCallOptions, FlatCallTracer
from node.tracers.options import check_timeout, option, read_options
from node.tracers.preimages import PreimageTracer
from node.tracers.prestate import PrestateOptions, PrestateTracer
from node.tracers.selectors import SelectorTracer
from node.tracers.struct_logs import StructLogOptions, StructLogTracer
from vm.message import Message, Outcome
from vm.transaction import TransactionResult

NAME_CHARACTERS: Final = 60
"""Of a name that is no tracer's, in the message about it."""
_JAVASCRIPT: Final = frozenset(
    (
        *("4byteTracerLegacy", "bigramTracer", "callTracerLegacy", "evmdisTracer", "noopTracerLegacy"),
        *("opcountTracer", "prestateTracerLegacy", "trigramTracer", "unigramTracer"),
    )
)
"""Tracers that come with geth as scripts."""


class NoopTracer(RunTracer):
    """Hears everything and says nothing."""

    def result(self, ended: TransactionResult) -> dict[str, Any]:  # noqa: ARG002
        """An empty object."""
        return {}


class MuxTracer(RunTracer):
    """Several tracers in one run."""

    def __init__(self, run: TracedRun, makers: Mapping[str, MakeTracer]) -> None:
        self._tracers = {name: make(run) for name, make in makers.items()}
        self._stepping = [tracer for tracer in self._tracers.values() if tracer.hears_steps]
        self.hears_steps = bool(self._stepping)

    def enter(self, message: Message) -> None:
        """To all."""
        for tracer in self._tracers.values():
            tracer.enter(message)

    def step(self, frame: Any) -> None:
        """To those that hear steps."""
        for tracer in self._stepping:
            tracer.step(frame)

    def selfdestruct(self, owner: Address, heir: Address, balance: int) -> None:
        """To all."""
        for tracer in self._tracers.values():
            tracer.selfdestruct(owner, heir, balance)

    def leave(self, message: Message, outcome: Outcome) -> None:
        """To all."""
        for tracer in self._tracers.values():
            tracer.leave(message, outcome)

    def log(self, log: Log, position: int) -> None:
        """To all."""
        for tracer in self._tracers.values():
            tracer.log(log, position)

    def result(self, ended: TransactionResult) -> dict[str, Any]:
        """What each says, by its name."""
        return {name: tracer.result(ended) for name, tracer in self._tracers.items()}


def tracer_of(options: dict[str, Any]) -> MakeTracer:
    """What makes the tracer that a request's options name. Raises `InvalidParams`."""
    check_timeout(options)
    name = option(options, "tracer")
    if name in (None, ""):
        read = read_options(StructLogOptions, options, "the trace options")
        read.check()
        return lambda run: StructLogTracer(run, read)
    return _named(name, option(options, "tracerConfig"))


def _named(name: object, config: object) -> MakeTracer:
    make = _TRACERS.get(name) if isinstance(name, str) else None
    if make is not None:
        return make(config)
    if isinstance(name, str) and (name in _JAVASCRIPT or "{" in name):
        raise InvalidParams(f"tracers in JavaScript are not run here; there are {', '.join(sorted(_TRACERS))}")
    raise InvalidParams(f"no tracer {str(name)[:NAME_CHARACTERS]!r}; there are {', '.join(sorted(_TRACERS))}")


def _calls(config: object) -> MakeTracer:
    options = read_options(CallOptions, config, "tracerConfig of callTracer")
    return lambda run: CallTracer(run, options)


def _flat_calls(config: object) -> MakeTracer:
    options = read_options(FlatCallOptions, config, "tracerConfig of flatCallTracer")
    return lambda run: FlatCallTracer(run, options)


def _prestate(config: object) -> MakeTracer:
    options = read_options(PrestateOptions, config, "tracerConfig of prestateTracer")
    options.check()
    return lambda run: PrestateTracer(run, options)


def _erc7562(config: object) -> MakeTracer:
    options = read_options(Erc7562Options, config, "tracerConfig of erc7562Tracer")
    options.check()
    return lambda run: Erc7562Tracer(run, options)


def _mux(config: object) -> MakeTracer:
    if not isinstance(config or {}, dict):
        raise InvalidParams("tracerConfig of muxTracer: expected an object of tracers and their options")
    makers = {inner: _named(inner, options) for inner, options in dict(config or {}).items()}  # type: ignore[call-overload]
    return lambda run: MuxTracer(run, makers)


_TRACERS: Final[dict[str, Callable[[object], MakeTracer]]] = {
    "callTracer": _calls,
    "flatCallTracer": _flat_calls,
    "prestateTracer": _prestate,
    "erc7562Tracer": _erc7562,
    "muxTracer": _mux,
    "consoleTracer": lambda _config: lambda _run: ConsoleTracer(),
    "4byteTracer": lambda _config: SelectorTracer,
    "keccak256PreimageTracer": lambda _config: lambda _run: PreimageTracer(),
    "noopTracer": lambda _config: lambda _run: NoopTracer(),
}
