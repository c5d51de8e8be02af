"""The EVM: each opcode written once as an emitter of LLVM IR, run by a tail-call interpreter."""
