"""State that native code keeps itself: slots, refund, logs, the accounts it may call; drained into the journal.

`state` owns the block of native memory (`vm.evm.layout.StateBlock`), `callees` keeps the part of it that says what
native code may call, `changes` and `logs` read its records.
"""
