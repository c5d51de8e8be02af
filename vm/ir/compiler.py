"""From IR text to images, with LLVM. Imported only where something is compiled: LLVM takes 40 MiB."""

from __future__ import annotations

import threading
from functools import cache as cached
from typing import Any, Final

from llvmlite import binding as llvm

from vm.errors import NativeCodeUnavailable
from vm.ir.elf import flat_image

OPTIMISED: Final = 2
"""LLVM's level of code generation for what is compiled once a version: interpreters and libraries."""

_machines = threading.local()


@cached
def _initialised() -> None:
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()


def target_machine(level: int = OPTIMISED) -> Any:
    """This thread's target machine at a level of code generation: costly to make and not to be shared."""
    machines = _machines.__dict__
    key = f"level{level}"
    if key not in machines:
        machines[key] = _new_target_machine(level)
    return machines[key]


def _new_target_machine(level: int) -> Any:
    _initialised()
    return llvm.Target.from_default_triple().create_target_machine(
        cpu=llvm.get_host_cpu_name(),
        features=llvm.get_host_cpu_features().flatten(),
        opt=level,
        reloc="pic",  # an image can lie anywhere
        codemodel="small",  # and is one piece
    )


def parse(ir: str, machine: Any) -> Any:
    """The checked module of a text, for a target machine. Raises `NativeCodeUnavailable`."""
    try:
        module = llvm.parse_assembly(ir)
        module.triple = machine.triple
        module.data_layout = str(machine.target_data)
        module.verify()
    except RuntimeError as error:
        raise NativeCodeUnavailable(str(error)[:500]) from error
    return module


def compile_optimised(ir: str) -> bytes:
    """Optimised machine code of a module's text for this computer, as an image. Raises `NativeCodeUnavailable`."""
    machine = target_machine()
    module = parse(ir, machine)
    options = llvm.create_pipeline_tuning_options(speed_level=OPTIMISED)
    builder = llvm.create_pass_builder(machine, options)
    builder.getModulePassManager().run(module, builder)
    return flat_image(bytes(machine.emit_object(module)))


def compile_quickly(ir: str, level: int) -> bytes:
    """The image of a text whose instructions are used as they are. Raises `NativeCodeUnavailable`."""
    machine = target_machine(level)
    return flat_image(bytes(machine.emit_object(parse(ir, machine))))


def compiled_for() -> tuple[str, ...]:
    """What decides machine code besides the text: LLVM's version, and this computer."""
    return (
        ".".join(map(str, llvm.llvm_version_info)),
        llvm.get_default_triple(),
        llvm.get_host_cpu_name(),
        llvm.get_host_cpu_features().flatten(),
    )
