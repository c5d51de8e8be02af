"""Finds test vectors: JSON files, folders of them, and .tar.xz archives, which are streamed."""

from __future__ import annotations

import lzma
import tarfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from node.conformance.errors import VectorsUnreadable

MAX_FILE_BYTES = 1 << 28
"""Largest accepted JSON file of vectors, bytes."""


class VectorFile(NamedTuple):
    """One JSON file of cases."""

    name: str
    data: bytes


def vector_files(paths: Iterable[Path]) -> Iterator[VectorFile]:
    """All JSON files under the paths, in a stable order. Raises `VectorsUnreadable`."""
    for path in paths:
        if path.is_dir():
            for found in sorted(path.rglob("*")):
                if found.suffix in (".json", ".xz") and found.is_file():
                    yield from _files_of(found)
        elif path.is_file():
            yield from _files_of(path)
        else:
            raise VectorsUnreadable(f"{path}: no such file or folder")


def _files_of(path: Path) -> Iterator[VectorFile]:
    if path.suffix == ".json":
        if path.stat().st_size > MAX_FILE_BYTES:
            raise VectorsUnreadable(f"{path} has {path.stat().st_size} bytes")
        yield VectorFile(str(path), path.read_bytes())
        return
    try:
        with tarfile.open(path, "r|*") as archive:
            for member in archive:
                if not member.isfile() or not member.name.endswith(".json"):
                    continue
                if member.size > MAX_FILE_BYTES:
                    raise VectorsUnreadable(f"{path}: {member.name} has {member.size} bytes")
                stream = archive.extractfile(member)
                assert stream is not None, "a regular file has contents"
                yield VectorFile(member.name, stream.read())
    except (tarfile.TarError, lzma.LZMAError, EOFError) as error:
        raise VectorsUnreadable(f"{path}: {error}") from None
