"""Every limit of debug sessions, with its unit."""

from __future__ import annotations

KEYFRAME_SPACING = 32_768
"""Steps between keyframes on the way forward: replaying them costs at most some tens of milliseconds."""

KEYFRAME_SECONDS = 0.001
"""Processor time of a replay from one keyframe to the next, where the timeline has a clock."""

KEYFRAME_STEPS = 64
"""Fewest steps between keyframes, where the timeline has a clock."""

JOURNAL_SHARE = 8
"""A keyframe holds the journal's content if the run since the last that does took so many times as long as that."""

KEYFRAME_NEAR = 256
"""Steps before a position sought backwards at which another keyframe is left."""

KEYFRAME_BYTES = 64 << 20
"""Keyframes of one session; beyond it they are thinned out, far from the cursor first."""

RUN_SLICE = 262_144
"""Steps of one slice of a run, after which a driver may do something else."""

RUN_SLICE_CHECKED = 8_192
"""Steps of a slice when Python looks at every step."""

SESSIONS = 1_024
"""Sessions open at once."""

BREAKPOINTS = 256
"""Breakpoints of one session."""

BRANCHES = 64
"""Branches of one session."""

EDITS = 1_024
"""Edits of one branch, those of its parents included."""

EDIT_BYTES = 1 << 20
"""Memory or calldata of one edit."""

LISTINGS_KEPT = 64
"""Codes whose hash and listing's places are remembered, in the whole process."""

VALUE_BYTES = 65_536
"""Bytes of calldata or memory that one expression may have as its value."""

NAME_CHARACTERS = 200
"""Name of a session, branch or tag."""

TAGS = 32
"""Tags of one session."""

EXPRESSION_CHARACTERS = 500
EXPRESSION_NODES = 100
EXPRESSION_DEPTH = 20

PROGRAM_GAS = 1 << 36
"""Gas of a session: enough for ten thousand million steps, and for 180 MiB of memory in a frame."""

CODE_BYTES = 1 << 20
"""Code of a bytecode session: more than a chain allows, since experiments may."""

CALLDATA_BYTES = 4 << 20
STATE_ENTRIES = 100_000
"""Accounts and slots a program may set up."""

DIGEST_ENTRIES = 2_000
"""Changes of a run beyond which the digest that is kept with each position leaves them out."""

DIGEST_MEMORY = 262_144
"""Bytes of memory beyond which that digest leaves it out."""

PAGE_STACK = 1_024
"""Stack words a state shows unless asked for fewer: all."""

PAGE_MEMORY = 65_536
"""Bytes of memory and return data a state shows unless asked otherwise."""

PAGE_ENTRIES = 1_024
"""Slots, logs and call frames a state shows unless asked otherwise."""

PAGE_MAX = 1 << 20
"""Largest page, bytes or entries."""

TRACE_LINES = 10_000
"""EIP-3155 lines of one page."""

TRACE_SLICE = 256
"""Lines after which others may work: Python makes each."""

CALL_NODES = 100_000
"""Messages of a call tree; the rest is counted."""

DIFF_CHUNK = 16_384
"""Steps compared by digest at once."""

DIFF_CONTEXT = 5
"""Steps shown before a divergence."""

EXPORT_STEPS = 10_000_000
"""Steps an export runs ahead to learn what state the program reads."""

REPLAY_STEPS = 1_000_000_000
"""The last step a session goes to: replaying it takes some seconds."""

FILE_BYTES = 16 << 20
"""A session file (`debugger.sharing`)."""

INFLATED_BYTES = 256 << 20
"""A session file's content."""

INFLATE_RATIO = 100
"""Inflated bytes per compressed byte."""

INFLATE_FREE = 65_536
"""Inflated bytes to which the ratio does not apply: a short file of zeros is not a decompression bomb."""

FILE_SECTIONS = 10_000
FILE_DEPTH = 32
"""Nesting of arrays and maps in a section."""

TEMPLATE_BYTES = 1 << 20
TOML_KEY_PARTS = 8
"""Parts of a dotted key in a template or a settings file; the deepest that means something has 4."""
TEMPLATE_STEPS = 1_000_000
"""Steps a template may take to its end state."""

TEMPLATES = 256
"""Templates that users saved."""
