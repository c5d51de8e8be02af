"""IR as text and through `llvmlite.ir`: the same functions built both ways (docs/design/0024-ir-text.md).

A function does what opcodes do most: check the gas, load two words of the stack, add, store, go on through a dispatch
table with a ``musttail`` call. `llvmlite.ir` ends in text too, which LLVM then parses.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import llvmlite
from llvmlite import ir

from vm.evm.convention import SIGNATURE, code_function, go_on, opcode_function
from vm.evm.layout import STACK_OFFSET, WORD_BYTES
from vm.ir.builder import Builder
from vm.ir.compiler import parse, target_machine


def as_text(functions: int, additions: int) -> str:
    """The module made with the kit."""
    texts = [f"declare {SIGNATURE} @out(ptr, i64, i64, ptr, ptr)\n"]
    for number in range(functions):
        b = Builder()
        b.place("start")
        for _ in range(additions):
            onward = b.fresh("ok")
            b.branch(b.let(f"icmp uge i64 %sp, {STACK_OFFSET + 2 * WORD_BYTES}"), onward, "fail")
            b.place(onward)
            top = b.at("%frame", "%sp")
            low_at = b.at(top, -2 * WORD_BYTES)
            left, right = b.get("i256", top, -WORD_BYTES), b.load("i256", low_at)
            b.store("i256", b.let(f"add i256 {left}, {right}"), low_at)
        go_on(b, opcode_function(b, "%table"))
        b.place("fail")
        go_on(b, "@out")
        texts.append(code_function(f"f{number}", b))
    return "".join(texts)


def through_llvmlite(functions: int, additions: int) -> str:
    """The same module made with `llvmlite.ir`."""
    i8, i64, i256 = (ir.IntType(bits) for bits in (8, 64, 256))
    pointer = ir.PointerType()
    signature = ir.FunctionType(i64, (pointer, i64, i64, pointer, pointer))
    module = ir.Module()

    def declare(name: str) -> ir.Function:
        function = ir.Function(module, signature, name)
        function.calling_convention = "preserve_nonecc"
        return function

    out = declare("out")

    for number in range(functions):
        function = declare(f"f{number}")
        function.linkage = "internal"
        function.attributes.add("nounwind")
        frame, sp, gas, ip, table = function.args
        builder = ir.IRBuilder(function.append_basic_block("start"))
        fail = function.append_basic_block("fail")
        for _ in range(additions):
            onward = function.append_basic_block("ok")
            least = ir.Constant(i64, STACK_OFFSET + 2 * WORD_BYTES)
            builder.cbranch(builder.icmp_unsigned(">=", sp, least), onward, fail)
            builder.position_at_end(onward)
            top = builder.gep(frame, [sp], source_etype=i8)
            low_at = builder.gep(top, [ir.Constant(i64, -2 * WORD_BYTES)], source_etype=i8)
            high_at = builder.gep(top, [ir.Constant(i64, -WORD_BYTES)], source_etype=i8)
            left = builder.load(high_at, align=32, typ=i256)
            right = builder.load(low_at, align=32, typ=i256)
            builder.store(builder.add(left, right), low_at, align=32)
        opcode = builder.zext(builder.load(ip, typ=i8), i64)
        builder.load(builder.gep(table, [opcode], source_etype=pointer), typ=pointer)
        # What was loaded cannot be called: `llvmlite.ir` wants a pointer's function type.
        for place in (builder, ir.IRBuilder(fail)):
            arguments = [frame, sp, gas, ip, table]
            place.ret(place.call(out, arguments, cconv="preserve_nonecc", tail="musttail"))
    return str(module)


def seconds(make: Callable[[int, int], str], functions: int, additions: int, rounds: int) -> tuple[float, str]:
    """The least processor time of so many rounds, and the text."""
    best, text = float("inf"), ""
    for _ in range(rounds):
        start = time.thread_time()
        text = make(functions, additions)
        best = min(best, time.thread_time() - start)
    return best, text


def main() -> None:
    """Print milliseconds to make the text and to parse it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    print(f"llvmlite {llvmlite.__version__}\n\n| functions | additions in each | way | text ms | parse ms | KB |")
    print("|---:|---:|---|---:|---:|---:|")
    machine = target_machine()
    for functions, additions in ((150, 1), (20, 64)):
        for name, make in (("text", as_text), ("llvmlite.ir", through_llvmlite)):
            made, text = seconds(make, functions, additions, rounds)
            start = time.thread_time()
            parse(text, machine)
            parsed = time.thread_time() - start
            cells = (functions, additions, name, f"{made * 1e3:.1f}", f"{parsed * 1e3:.1f}", f"{len(text) / 1e3:.0f}")
            print(f"| {' | '.join(map(str, cells))} |")


if __name__ == "__main__":
    main()
