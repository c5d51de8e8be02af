"""The JIT: hot blocks of one contract as native functions that the interpreter enters and they leave to.

`program` reads the code, `stack` and `emitter` write one block's IR from the same emitters the interpreter
uses, `module` gathers blocks into an object, `runtime` is what the interpreter offers to both sides, `maps`
says where compiled code is, `tier` decides what to compile, `workshop` and `worker` do it in another process.
"""
