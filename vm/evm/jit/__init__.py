"""The JIT: hot blocks of one contract as native functions that the interpreter enters and they leave to.

`program` reads the code, `stack` and `emitter` write one block's IR from the same emitters the interpreter
uses, `module` gathers blocks into an object, `runtime` is what the interpreter offers to both sides,
`entry_table` says where compiled code is, `profile` how often code ran, `tier` decides what to compile. What
touches processes and files is behind `ports`.
"""
