"""Bodies that cost more to look at than to send."""

from __future__ import annotations

import asyncio

from benchmarks.attacks.attack import Attack, Target


async def unterminated_string(target: Target) -> str:
    """Over 64 brackets, then a string of escaped quotes that never ends: no regular expression may rescan it."""
    bodies = [b"[" * 70 + b'"' + b'\\"' * (size // 2) for size in (8_192, 65_536, 1_048_576, 4_000_000)]
    answers = await asyncio.gather(*(target.post(body) for body in bodies))
    return f"{len(bodies)} bodies of 8 KB to 4 MB; status {sorted({answer.status for answer in answers})}"


ATTACKS = (Attack("1", "brackets before an unterminated string", unterminated_string),)
