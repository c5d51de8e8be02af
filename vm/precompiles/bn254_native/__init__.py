"""Arithmetic on alt_bn128 in machine code of our own, made with LLVM like the interpreter's."""
