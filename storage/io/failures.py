"""What a failing file-system call means: one table of policy, as context managers.

| call | error | meaning |
|---|---|---|
| read | any | `StorageUnreadable`: never skip what cannot be read |
| write, create, reserve, rename | ENOSPC, EDQUOT | `StorageFull`: nothing changed, try again |
| write, create, reserve, rename | any other | `StoragePanic` |
| sync of a file or directory | any | `StoragePanic`: no retry, no acknowledgement |
"""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager

from storage.errors import DataDirectoryUnusable, StorageFull, StoragePanic, StorageUnreadable

NO_SPACE = frozenset((errno.ENOSPC, errno.EDQUOT))

NOT_ALLOWED = frozenset((errno.EACCES, errno.EPERM, errno.EROFS))
UNUSABLE = NOT_ALLOWED | {errno.ENOTDIR, errno.EISDIR, errno.ENOENT, errno.ELOOP, errno.ENAMETOOLONG, errno.EFBIG}
"""Errors of a path that is wrong, or that this user may not write as it has to be (``ulimit -f``): neither the disk's
nor a bug's."""


@contextmanager
def reading(what: str) -> Iterator[None]:
    """Context manager around reads."""
    try:
        yield
    except OSError as error:
        raise StorageUnreadable(f"cannot read {what}: {error}") from error


@contextmanager
def writing(what: str) -> Iterator[None]:
    """Context manager around calls that change something but make nothing durable."""
    try:
        yield
    except OSError as error:
        if error.errno in NO_SPACE:
            raise StorageFull(f"no space to write {what}: {error}") from error
        raise StoragePanic(f"cannot write {what}: {error}") from error


@contextmanager
def syncing(what: str) -> Iterator[None]:
    """Context manager around calls that make something durable."""
    try:
        yield
    except OSError as error:
        raise StoragePanic(f"cannot sync {what}: {error}") from error


@contextmanager
def starting() -> Iterator[None]:
    """Around a start: what the operator has to mend is `DataDirectoryUnusable`, not damage, and no panic."""
    try:
        yield
    except (StoragePanic, StorageUnreadable) as error:
        wrong = UNUSABLE if isinstance(error, StoragePanic) else NOT_ALLOWED
        if isinstance(error.__cause__, OSError) and error.__cause__.errno in wrong:
            raise DataDirectoryUnusable(str(error.__cause__)) from error.__cause__
        raise


@contextmanager
def entering(what: str) -> Iterator[None]:
    """Around the first calls in a data directory, as `writing` and `starting`."""
    with starting(), writing(what):
        yield
