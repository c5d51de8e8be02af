"""Every limit of the machine, with its unit. Protocol limits cite their EIP; the rest are ours."""

from __future__ import annotations

STACK_ITEMS = 1024
"""Words on a frame's stack (Yellow Paper 9.1)."""

CALL_DEPTH = 1024
"""Deepest allowed ``Message.depth``: 1,025 frames, the first at depth 0 (Yellow Paper 8)."""

NONCE_MAX = 2**64 - 1
"""Highest nonce; an account that has it creates nothing (EIP-2681)."""

BLOCK_HASH_WINDOW = 256
"""Blocks before the current one that BLOCKHASH sees."""

GAS_MAX = 2**63 - 1
"""Gas one message can have: gas counters are signed 64-bit words."""

MEMORY_BYTES = 1 << 30
"""Memory of one frame. It costs more than 2**41 gas to reach; beyond it a frame is out of gas."""

MEMORY_START_BYTES = 4096
"""Memory a fresh frame has room for before its buffer grows."""

MEMORY_KEPT_BYTES = 1 << 20
"""A pooled frame gives back a buffer larger than this."""

BRIEF_MEMORY_BYTES = 1 << 16
"""Memory of a frame that work which must not hold its thread may have: one opcode can hash or copy all of it."""

BRIEF_PRECOMPILE_GAS = 4_000
"""Gas of a precompile that such work may call: the slowest takes some 0.2 ms for it."""

FRAMES_WITH_MEMORY = 4
"""Outermost frames that keep such a buffer; all others give back what they grew by."""

FRAMES_KEPT = 64
"""Frames a thread keeps for reuse, about 37 KiB each."""

CODE_CACHE_ENTRIES = 1024
"""Analysed contracts kept, least recently used first out."""

CODE_CACHE_BYTES = 32 << 20
"""Analysed code bytes kept, counted twice (code and jump map)."""
