"""The kit all machine code is made with: functions as LLVM IR text, and text to addresses through an object cache.

It knows nothing of the EVM. What native code of the EVM has in common is `vm.evm.convention`.
"""
