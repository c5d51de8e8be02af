"""Checks a mnemonic (BIP-39): the number of words, that each is in a word list, and the checksum."""

from __future__ import annotations

import difflib
import hashlib
from importlib.util import find_spec
from pathlib import Path
from unicodedata import normalize

LENGTHS = (12, 15, 18, 21, 24)
BITS_A_WORD = 11


def fault_of(mnemonic: str) -> str:
    """What is wrong with the mnemonic, empty if nothing is: a wrong word would silently give other accounts."""
    words = normalize("NFKD", mnemonic).split()
    if len(words) not in LENGTHS:
        return f"{len(words)} words; a mnemonic has {', '.join(map(str, LENGTHS[:-1]))} or {LENGTHS[-1]}"
    lists = _word_lists()
    known = [index for index in lists if all(word in index for word in words)]
    if known:
        fits = any(_checksum_fits([index[word] for word in words]) for index in known)
        return "" if fits else "its checksum is wrong"
    index = max(lists, key=lambda index: sum(word in index for word in words))
    place, wrong = next((place, word) for place, word in enumerate(words, 1) if word not in index)
    near = difflib.get_close_matches(wrong, index, n=1)
    return f"word {place} is in no list of BIP-39" + (f"; did you mean {near[0]!r}?" if near else "")


def _word_lists() -> list[dict[str, int]]:
    """For every language, word -> number. The lists are read from eth-account, whose import would take a second."""
    spec = find_spec("eth_account")
    assert spec is not None, "eth-account is not installed"
    assert spec.origin is not None
    files = sorted((Path(spec.origin).parent / "hdaccount" / "wordlist").glob("*.txt"))
    texts = [normalize("NFKD", file.read_text(encoding="utf-8")) for file in files]
    return [{word: number for number, word in enumerate(text.split())} for text in texts]


def _checksum_fits(numbers: list[int]) -> bool:
    bits = "".join(f"{number:0{BITS_A_WORD}b}" for number in numbers)
    size = len(bits) // 33
    entropy = int(bits[:-size], 2).to_bytes((len(bits) - size) // 8, "big")
    return f"{hashlib.sha256(entropy).digest()[0]:08b}"[:size] == bits[-size:]
