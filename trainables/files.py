"""Writing files so that a reader sees all of one or nothing."""

import fcntl
import hashlib
import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def write_atomically(path: Path, content: bytes) -> None:
    """Write a file by renaming a finished temporary one over it, in the same folder.

    Raises:
        OSError: The folder cannot be written; the temporary file is removed.
    """
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
    """Hexadecimal digits of the SHA-256 of a value as JSON, with its keys in order."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:digits]


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold a lock that other processes ask for too; its file stays, since removing it would let two hold it.

    The lock is the kernel's, so that a killed process holds none.
    """
    handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)
