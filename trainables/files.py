"""Atomic writes, locks, hashes of JSON, and lists of many objects."""

import fcntl
import gc
import hashlib
import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def write_atomically(path: Path, content: bytes) -> None:
    """Write a file atomically, by renaming a complete temporary file in the same folder.

    Raises:
        OSError: The folder cannot be written; the temporary file is removed. ``filename`` is the path.
    """
    try:
        _write_and_rename(path, content)
    except OSError as error:
        error.filename = str(path)  # instead of the temporary file, or none
        raise


def _write_and_rename(path: Path, content: bytes) -> None:
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(name, 0o644)
        os.replace(name, path)
    except BaseException:
        os.unlink(name)
        raise


def json_hash(value: object, digits: int = 16) -> str:
    """Return leading hexadecimal digits of the SHA-256 of a value as JSON with sorted keys."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:digits]


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold an exclusive lock between processes. Its file is kept, since removing it would allow two holders.

    It is a kernel lock, released when the process dies.
    """
    handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


@contextmanager
def many_objects() -> Iterator[None]:
    """Suspend the search for garbage while many objects are made that stay; it would visit them time and again."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()
