"""Engine ``auto``: contracts start interpreted, then counted; what runs often is compiled in the background.

A contract's jumps are counted from its second call on. When the counts say that interpreting cost enough, the whole
contract is taken from the object cache if it was compiled when it was created (`vm.evm.jit.foresight`). Else its hot
JUMPDESTs go to the compiler, or all of it if there are many of equal heat. The functions are put into the entry table
while the contract runs on, and frames that are in the middle of a loop enter them at its next turn.
"""

from __future__ import annotations

import threading
import weakref
from collections import OrderedDict
from typing import Final

from chain.types import Hash32
from vm.code import Code
from vm.errors import NativeCodeUnavailable
from vm.evm.jit import objects
from vm.evm.jit.entry_table import CODE_BYTES_MAX, EntryTable
from vm.evm.jit.foresight import Foresight
from vm.evm.jit.metrics import Metrics
from vm.evm.jit.module import compile_ir
from vm.evm.jit.objects import whole_kind
from vm.evm.jit.ports import WORKER_LOST, BackgroundCompiler, CompileRequest, Dump
from vm.evm.jit.profile import Profile
from vm.evm.jit.store import ObjectStore
from vm.evm.native import Interpreter
from vm.evm.routines.compiled import FIRST_INDEX

JUMPS_WORTH_COMPILING: Final = 20_000
"""Interpreted JUMPDESTs of a contract after which its hot ones are compiled: some milliseconds of interpreting."""
HOT_SHARE: Final = 500
"""A JUMPDEST is hot if it has at least one in so many of the contract's counts."""
SPREAD_JUMPS: Final = 200_000
"""Interpreted JUMPDESTs after which all of a contract is compiled, if those that are hot are less than half of them."""
CALLS_WORTH_COMPILING: Final = 64
"""Calls after which the contract's begin is compiled with the rest."""
COUNTED_BYTES_MAX: Final = 12 << 20
"""Entry tables of contracts that are only counted; the oldest are given up for new ones."""
LOADED_BYTES_MAX: Final = 48 << 20
LOADED_CONTRACTS_MAX: Final = 192
"""Each has an entry table of four bytes and more for each byte of its code."""

Hot = tuple[int, ...] | None
"""JUMPDESTs to compile, and 0 for the begin; None for the whole contract."""


class BackgroundTier:
    """The tier of one fork. Owns the profiles. Any thread may look up; the compiler's thread installs."""

    def __init__(
        self,
        interpreter: Interpreter,
        store: ObjectStore,
        compiler: BackgroundCompiler,
        metrics: Metrics,
        level: int,
        dump: Dump | None,
    ) -> None:
        self._interpreter = interpreter
        self._fork = interpreter.fork
        self._store = store
        self._compiler = compiler
        self._metrics = metrics
        self._level = level
        self._dump = dump
        self._foresight = Foresight(self._fork, level, store, compiler, metrics)
        store.warm_up(self._fork)
        self._lock = threading.Lock()
        self._profiles: dict[int, Profile] = {}
        """By the identity of the code."""
        self._loaded: OrderedDict[int, tuple[Profile, EntryTable, int]] = OrderedDict()
        """By the identity of the table: whose they are, and the calls when eviction last passed by."""
        self._counted: OrderedDict[int, tuple[Profile, EntryTable]] = OrderedDict()
        """Tables without compiled functions, by identity, the oldest first."""
        self._counted_bytes = 0

    def entry_table_of(self, code: Code) -> EntryTable | None:
        """The entry table of the code about to run, None while it is not worth counting."""
        profile = self._profiles.get(id(code)) or self._begin_profile(code)
        if profile.count_call():
            self._look(code, profile)
        table = profile.table
        if table is None:
            return None
        if table.is_compiled:
            self._metrics.count_entered()
            return table
        return None if profile.counts_in_vain else table

    def foresee(self, code_hash: Hash32, code: bytes) -> None:
        """A contract with this code was created."""
        self._foresight.add(code_hash, code)

    def is_cold(self, code: Code, /) -> bool:
        """Whether it is neither counted nor compiled: never called twice, or given up for others."""
        profile = self._profiles.get(id(code))
        return profile is None or profile.table is None

    def _begin_profile(self, code: Code) -> Profile:
        """Have a profile of the code for as long as the code is there."""
        profiles, key = self._profiles, id(code)
        profile = profiles[key] = Profile(weakref.ref(code, lambda _: profiles.pop(key, None)))
        return profile

    def _look(self, code: Code, profile: Profile) -> None:
        """Begin counting, or see what the counts say."""
        with self._lock:
            if not profile.begin_look():
                return
            table = profile.table
            if table is not None:
                if not profile.is_waiting and not profile.is_finished:
                    self._consider(code, profile, table)
            elif 0 < code.length <= CODE_BYTES_MAX:
                table = EntryTable(code, self._interpreter)
                profile.begin_counting(table)
                self._remember(profile, table)
                self._submit(code, profile, table, ())
            else:
                profile.never_look()

    def _remember(self, profile: Profile, table: EntryTable) -> None:
        """Bound what counting takes."""
        self._counted[id(table)] = profile, table
        self._counted_bytes += table.size
        while self._counted_bytes > COUNTED_BYTES_MAX and len(self._counted) > 1:
            _, (old, old_table) = self._counted.popitem(last=False)
            self._counted_bytes -= old_table.size
            if old.table is old_table and not old.is_waiting:
                old.cool()

    def _consider(self, code: Code, profile: Profile, table: EntryTable) -> None:
        counts = table.counts()
        recent = profile.counts_since(counts)
        weight = sum(recent.values())
        if weight < JUMPS_WORTH_COMPILING and not (profile.rounds == 0 and profile.calls >= CALLS_WORTH_COMPILING):
            return
        profile.keep_counts(counts)
        least = max(1, weight // HOT_SHARE)
        heat = {pc: n for pc, index in table.jumpdests().items() if (n := recent.get(index, 0)) >= least}
        if weight >= SPREAD_JUMPS and 2 * sum(heat.values()) < weight and not profile.has_whole:
            profile.find_spread()
            self._submit(code, profile, table, None)
            return
        hot = [*heat]
        if profile.calls >= CALLS_WORTH_COMPILING and profile.rounds == 0:
            hot.append(0)
        if hot:
            self._submit(code, profile, table, tuple(hot))

    def _submit(self, code: Code, profile: Profile, table: EntryTable, hot: Hot) -> None:
        """Queue what is hot: None for the whole contract, nothing to look into the cache only."""
        profile.set_waiting(True)  # before the compiler's thread can set it back
        if not self._compiler.submit(
            lambda: self._prepare(code, profile, table, hot),
            lambda request, found, reason: self._compiled(code, profile, table, request, found, reason),
        ):
            profile.set_waiting(False)

    # In the compiler's thread

    def _prepare(self, code: Code, profile: Profile, table: EntryTable, hot: Hot) -> CompileRequest | None:
        """Install what the cache has; what must be compiled besides."""
        wanted: CompileRequest | None = None
        try:
            wanted = self._wanted(code, profile, table, hot)
        finally:
            profile.set_waiting(wanted is not None)
        if hot == ():
            self._look_again(code, profile, table)
        return wanted

    def _look_again(self, code: Code, profile: Profile, table: EntryTable) -> None:
        """The first look into the cache may have waited behind others while the contract ran hot, and ended."""
        with self._lock:
            if profile.table is table and not profile.is_waiting and not profile.is_finished:
                self._consider(code, profile, table)

    def _wanted(self, code: Code, profile: Profile, table: EntryTable, hot: Hot) -> CompileRequest | None:
        code_hash = profile.code_hash_of(code)
        if hot != () and not profile.has_whole:
            found = self._store.get(code_hash, self._fork, whole_kind(self._level))
            if found is not None:
                profile.take_whole()
                self._install(profile, table, found)
                hot = () if hot is None else hot
        if hot is None:
            return CompileRequest(self._fork, self._level, code.bytes, None)
        while not profile.is_finished:
            found = self._store.get(code_hash, self._fork, self._kind(profile))
            if found is None:
                break
            self._install(profile, table, found)
        indexes = table.jumpdests() | {0: FIRST_INDEX}
        missing = tuple(pc for pc in hot if indexes[pc] not in table.compiled)
        if not missing or profile.is_finished:
            return None
        return CompileRequest(self._fork, self._level, code.bytes, missing)

    def _compiled(
        self, code: Code, profile: Profile, table: EntryTable, request: CompileRequest, found: bytes | None, reason: str
    ) -> None:
        try:
            self._take(code, profile, table, request, found, reason)
        finally:
            profile.set_waiting(False)

    def _take(
        self, code: Code, profile: Profile, table: EntryTable, request: CompileRequest, found: bytes | None, reason: str
    ) -> None:
        if found is None:
            self._metrics.count_failed()
            profile.fail(may_retry=reason == WORKER_LOST)
        else:
            if request.hot is None:
                profile.take_whole()
            code_hash = profile.code_hash_of(code)
            kind = whole_kind(self._level) if request.hot is None else self._kind(profile)
            self._metrics.count_compiled()
            self._store.put(code_hash, self._fork, kind, found)
            if self._dump is not None:
                text = compile_ir(code.bytes, self._fork, request.hot).ir
                self._dump.write(code, code_hash, self._fork, kind, text, self._level)
            self._install(profile, table, found)

    def _kind(self, profile: Profile) -> str:
        return f"hot{profile.rounds}-{self._level}"

    def _install(self, profile: Profile, table: EntryTable, found: bytes) -> None:
        profile.end_round()
        if profile.table is not table:
            return
        try:
            loaded = objects.load(found, self._interpreter)
        except (NativeCodeUnavailable, RuntimeError):
            self._metrics.count_failed()
            profile.give_up()
            return
        table.install(loaded.functions, loaded.library, len(found))
        with self._lock:
            self._metrics.count_installed(len(loaded.functions), len(found))
            if self._counted.pop(id(table), None):
                self._counted_bytes -= table.size
            self._loaded[id(table)] = profile, table, profile.calls
            self._make_room()

    def _make_room(self) -> None:
        """Give up compiled code, that of contracts without a recent call first.

        Frames running in it hold its table, and those the machine code: it is freed when the last one ends.
        """
        turns = 2 * len(self._loaded)
        while turns and (
            self._metrics.machine_code_bytes > LOADED_BYTES_MAX or len(self._loaded) > LOADED_CONTRACTS_MAX
        ):
            turns -= 1
            key, (profile, table, calls) = self._loaded.popitem(last=False)
            if profile.calls != calls and turns > len(self._loaded):
                self._loaded[key] = profile, table, profile.calls
                continue
            self._metrics.count_evicted(table.compiled_bytes)
            if profile.table is table:
                profile.cool()

    def deoptimised(self) -> int:
        """Times compiled code now in memory left something to the interpreter."""
        with self._lock:
            return sum(table.deoptimised for _, table, _ in self._loaded.values())

    def interpreted(self) -> int:
        """Times a block now in memory ran in the interpreter because it was not compiled."""
        with self._lock:
            return sum(sum(table.counts().values()) for _, table, _ in self._loaded.values())
