"""Where the instructions of the compute cases go, in both engines: what compiling code can save, and what it cannot.

    python -m benchmarks.instructions [--match REGEX] [--level 1]

One warm execution of each case in process is counted by valgrind's callgrind, which other work on the computer does
not disturb. Valgrind knows no AVX-512, so interpreter and objects are compiled for an older processor, beforehand, into
a cache of their own. A count is put down to what the instruction belongs to: an opcode or a compiled block, a routine
that both engines call, or Python and C libraries. Instructions are not time: a division takes longer than an addition.

``most`` is how many times fewer instructions the JIT could take at best: if compiled blocks took none at all.
"""

from __future__ import annotations

import argparse
import bisect
import ctypes
import gc
import json
import re
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

from benchmarks.compute_cases import Case, cases
from benchmarks.vm import prepared
from chain.forks import Fork
from chain.hashing import keccak256
from node.machine.assembly import compiler_digest, machine_parts
from node.machine.object_cache import FileObjectCache
from vm.evm.interpreter import exports, interpreter_ir
from vm.evm.jit import objects
from vm.evm.jit.metrics import Metrics
from vm.evm.jit.module import compile_ir
from vm.evm.jit.store import ObjectStore
from vm.ir import image, loader
from vm.ir.loader import LibraryCompiler
from vm.machine import Machine

FORK: Final = Fork.CANCUN
ENGINES: Final = ("interpreter", "jit")
PROCESSOR: Final = "haswell"
"""LLVM's name of one whose instructions valgrind 3.19 knows all of."""
INTERPRETER: Final = f"interpreter-{FORK.name.lower()}"
WARM_RUNS: Final = 6
"""Before the one that is counted: what is remembered is known, and MULMOD's modulus met."""

GROUPS: Final = {
    "code": r"op_|enter|resume|exit|to_compiled|interpret|retry|defer|step",
    "Keccak": r"keccak|digest",
    "arithmetic": r"divide|modulo|multiply|add_modulo|power|reciprocal|compute_reciprocal|reduce|short_step|wide_step",
    "slots": r"load_slot|store_slot|store_transient|find|slot|bring|undo|probe|write",
    "logs": r"append_log",
    "memory": r"expand|copy_padded|load_short|load_padded",
    "calls": r"call\d|end\d|begin_|return_|callee",
}
"""By column: how the names of the interpreter module's functions begin. Compiled blocks are ``code`` too."""
COLUMNS: Final = (*GROUPS, "other", "Python")


def compiled_for() -> tuple[str, ...]:
    """Implements `LibraryCompiler.compiled_for`."""
    return "callgrind", PROCESSOR


def refuse(_: str) -> bytes:
    """Implements `LibraryCompiler.compile` where the cache has all that is needed."""
    raise AssertionError("nothing is compiled under valgrind")


def compiled(ir: str, level: int, *, optimised: bool) -> bytes:
    """The image of a text for `PROCESSOR`."""
    from llvmlite import binding as llvm

    from vm.ir.compiler import parse, target_machine
    from vm.ir.elf import flat_image

    target_machine()  # initialises LLVM
    target = llvm.Target.from_default_triple()
    machine = target.create_target_machine(cpu=PROCESSOR, opt=level, reloc="pic", codemodel="small")
    module = parse(ir, machine)
    if optimised:
        builder = llvm.create_pass_builder(machine, llvm.create_pipeline_tuning_options(speed_level=level))
        builder.getModulePassManager().run(module, builder)
    return flat_image(bytes(machine.emit_object(module)))


def prepare(folder: Path, chosen: list[Case], level: int) -> None:
    """Fill the cache, and write down the names of the interpreter module's functions in the order it exports them."""
    loader.use(LibraryCompiler(refuse, compiled_for), None)
    text = interpreter_ir(FORK)
    known = exports(FORK)
    names = [name for name in re.findall(r"^define [^@]*@(\w+)\(", text, re.MULTILINE) if name not in known]
    before = ", ".join(f"ptr @{name}" for name in known)
    more = "".join(f", ptr @{name}" for name in names)
    longer = text.replace(
        f"@exports = constant [{len(known)} x ptr] [{before}]",
        f"@exports = constant [{len(known) + len(names)} x ptr] [{before}{more}]",
    )
    assert longer != text
    (folder / "names").write_text(json.dumps([*known, *names]))
    cache = FileObjectCache(folder / "cache")
    key = loader.object_key(text, INTERPRETER)
    cache.put(key, loader.seal(key, compiled(longer, 2, optimised=True)))
    store = ObjectStore(cache, compiler_digest(), Metrics())
    for case in chosen:
        for code in codes_of(case):
            ir = compile_ir(code, FORK, None).ir
            store.put(keccak256(code), FORK, objects.whole_kind(level), compiled(ir, level, optimised=False))


def codes_of(case: Case) -> list[bytes]:
    """What an execution of the case runs, with what creates its contract."""
    return [case.runtime] if case.creation is None else [case.runtime, case.creation]


# Under valgrind

_DUMP, _ZERO, _START, _STOP = (0x43540000 + number for number in (3, 1, 4, 5))
"""Client requests of callgrind.h: DUMP_STATS_AT, ZERO_STATS, START_INSTRUMENTATION, STOP_INSTRUMENTATION."""
_REQUEST: Final = bytes.fromhex(
    "4889f8"  # mov rax, rdi: the request
    "31d2"  # xor edx, edx: the answer where valgrind is not there
    "48c1c703 48c1c70d 48c1c73d 48c1c733 4887db"  # valgrind.h: rotations of rdi that come to nothing; xchg rbx, rbx
    "4889d0 c3"  # mov rax, rdx; ret
)


def asking() -> Callable[..., None]:
    """A function that makes a client request with one argument."""
    content = _REQUEST.ljust(40, b"\0")
    library = image.load(image.encode(image.Image(content, 0, (), ())), {})
    function = ctypes.CFUNCTYPE(ctypes.c_uint64, ctypes.c_void_p)(library.exports)
    requests: list[Any] = []

    def ask(request: int, text: bytes = b"") -> None:
        words = (ctypes.c_uint64 * 6)(request, ctypes.cast(ctypes.c_char_p(text), ctypes.c_void_p).value or 0)
        requests.append((library, words, text))
        function(ctypes.addressof(words))

    return ask


def run(folder: Path, chosen: list[Case], engine: str, level: int) -> None:
    """Execute every case, the last time counted; write down where the interpreter module's functions lie."""
    parts = machine_parts(FileObjectCache(folder / "cache"), engine, level=level)
    machine = Machine(parts._replace(libraries=LibraryCompiler(refuse, compiled_for)))
    machine.runtime(FORK)
    names = json.loads((folder / "names").read_text())
    (folder / f"{engine}.addresses").write_text(json.dumps(loader.load_library(INTERPRETER, str, tuple(names))))
    ask = asking()
    gc.disable()

    def count(name: str, work: Callable[[], object]) -> None:
        ask(_START)
        ask(_ZERO)
        work()
        ask(_DUMP, name.encode())
        ask(_STOP)

    count("nothing", lambda: None)
    for case in chosen:
        for _ in range(WARM_RUNS):
            message, context = prepared(machine, case)
            case.check(machine.execute(message, context).output, engine)
        message, context = prepared(machine, case)
        count(case.name, lambda message=message, context=context: machine.execute(message, context))
    print(f"{engine}: {machine.status()}", file=sys.stderr)


# What valgrind wrote

_POSITION: Final = re.compile(r"^0x([0-9a-f]+) \S+ (\d+)$")


def counts(path: Path) -> Iterator[tuple[bool, int, int]]:
    """Of a dump: whether the code belongs to a file, its address, and instructions of its own."""
    in_file, skip = True, False
    for line in path.read_text().splitlines():
        if line.startswith("ob="):
            in_file = not line.endswith("???")
        elif line.startswith("calls="):
            skip = True  # the next line is what the called function took
        elif found := _POSITION.match(line):
            if not skip:
                yield in_file, int(found[1], 16), int(found[2])
            skip = False


def column_of(name: str) -> str:
    """Of the table, for a function of the interpreter's module."""
    return next((column for column, pattern in GROUPS.items() if re.match(pattern, name)), "other")


def attributed(folder: Path, engine: str) -> dict[str, Counter[str]]:
    """By case and column: instructions."""
    addresses = json.loads((folder / f"{engine}.addresses").read_text())
    known = sorted((address, name) for name, address in addresses.items())
    starts, names = [address for address, _ in known], [name for _, name in known]
    end = starts[-1] + 4096
    found: dict[str, Counter[str]] = {}
    for path in folder.glob(f"{engine}.out.*"):
        text = path.read_text()
        case = re.search(r"^desc: Trigger: .*?([\w-]+)$", text, re.MULTILINE)
        if case is None:
            continue
        of_case = found.setdefault(case[1], Counter())
        for in_file, address, number in counts(path):
            if in_file:
                of_case["Python"] += number
            elif starts[0] <= address < end:
                name = names[bisect.bisect_right(starts, address) - 1]
                of_case[column_of(name)] += number
                of_case[f"@{name}"] += number
            else:
                of_case["code"] += number
    nothing = found.pop("nothing")
    for of_case in found.values():
        of_case.subtract({"Python": nothing["Python"]})
    return found


def report(found: dict[str, dict[str, Counter[str]]], chosen: list[Case]) -> None:
    """A row for each case and engine: thousands of instructions."""
    print("| case | engine | thousands | " + " | ".join(COLUMNS) + " | fewer | most |")
    print("|---|---" + "|---:" * (len(COLUMNS) + 3) + "|")
    for case in chosen:
        totals = {}
        for engine in ENGINES:
            of_case = found[engine][case.name]
            totals[engine] = total = sum(of_case[column] for column in COLUMNS)
            cells = [f"{of_case[column] / 1e3:,.0f}" if of_case[column] else "" for column in COLUMNS]
            ratios = ["", ""]
            if engine == "jit":
                ratios = [f"{totals['interpreter'] / n:.2f}" for n in (total, max(1, total - of_case["code"]))]
            print("| " + " | ".join([case.name, engine, f"{total / 1e3:,.0f}", *cells, *ratios]) + " |")


def main() -> None:
    """Compile, run each engine under valgrind, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--match", default="", help="only cases whose name this regular expression is found in")
    parser.add_argument("--level", type=int, default=objects.LEVEL, choices=(0, 1, 2))
    parser.add_argument("--functions", action="store_true", help="list the interpreter module's busiest functions too")
    parser.add_argument("--run", nargs=2, metavar=("FOLDER", "ENGINE"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    chosen = cases(options.match)
    if options.run:
        run(Path(options.run[0]), chosen, options.run[1], options.level)
        return
    with tempfile.TemporaryDirectory() as directory:
        folder = Path(directory)
        prepare(folder, chosen, options.level)
        for engine in ENGINES:
            valgrind = ["valgrind", "--tool=callgrind", "--instr-atstart=no", "--dump-instr=yes", "--compress-pos=no"]
            valgrind += ["--compress-strings=no", "--smc-check=all-non-file"]
            valgrind += [f"--callgrind-out-file={folder / engine}.out.%p"]
            me = [sys.executable, "-m", "benchmarks.instructions", "--match", options.match]
            subprocess.run(
                [*valgrind, *me, "--level", str(options.level), "--run", directory, engine], check=True
            )
        found = {engine: attributed(folder, engine) for engine in ENGINES}
    report(found, chosen)
    if options.functions:
        for engine, of_engine in found.items():
            for name, of_case in of_engine.items():
                busiest = [f"{key[1:]} {number:,}" for key, number in of_case.most_common() if key.startswith("@")][:8]
                print(f"{name}, {engine}: " + ", ".join(busiest))


if __name__ == "__main__":
    main()
