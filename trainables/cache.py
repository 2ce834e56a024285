"""Cache of arrays that trials share, on storage that all workers see.

The key of an entry is the hash of all its dependencies. Entries can be deleted at any time; they are then recomputed.
"""

import io
import logging
import os
import time
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trainables.files import json_hash, locked, write_atomically

log = logging.getLogger(__name__)

Arrays = Mapping[str, NDArray[Any]]

MAX_BYTES = 20 * 2**30
FOLDER = "cache"
"""Name of the folder under the storage."""
_LEFTOVER_S = 3600.0  # older temporary files are from killed writers


class Cache:
    """Arrays by their dependencies, in files under one folder.

    If several workers need the same entry at once, one computes it and the others wait; the lock is a kernel lock,
    released when a worker dies. Files are written atomically; an unreadable file is recomputed. Beyond the size limit,
    the least recently used entries are removed.

    Args:
        folder: Created by the first entry.
        max_bytes: Size limit of all entries together; a larger entry is returned but not stored.
    """

    def __init__(self, folder: Path, max_bytes: int = MAX_BYTES) -> None:
        self.folder = folder
        self.max_bytes = max_bytes

    def arrays(self, depends_on: Mapping[str, Any], compute: Callable[[], Arrays]) -> Arrays:
        """Return the arrays of an entry, computed if they are not stored.

        Args:
            depends_on: All dependencies as plain values, including the code that computes the arrays.
            compute: Computes the arrays.

        Raises:
            OSError: The folder cannot be written.
        """
        key = json_hash(depends_on, 32)
        path = self.folder / f"{key}.npz"
        if (stored := _read(path)) is not None:
            return stored
        self.folder.mkdir(parents=True, exist_ok=True)
        with locked(self.folder / f".{key}.lock"):
            if (stored := _read(path)) is not None:
                return stored
            computed = dict(compute())
            content = io.BytesIO()
            np.savez(content, **computed)  # type: ignore[arg-type]  # its stubs take a flag for an array
            if content.tell() <= self.max_bytes:
                write_atomically(path, content.getvalue())
        self._trim()
        return computed

    def _trim(self) -> None:
        """Remove the least recently used entries beyond the size limit, and temporary files of killed writers."""
        entries, leftovers = [], []
        for file in self.folder.iterdir():
            try:
                about = file.stat()
            except FileNotFoundError:  # removed by another worker
                continue
            if file.suffix == ".npz" and not file.name.startswith("."):
                entries.append((about.st_mtime, about.st_size, file))
            elif time.time() - about.st_mtime > _LEFTOVER_S and file.suffix != ".lock":
                leftovers.append(file)
        total = sum(size for _, size, _ in entries)
        for _, size, file in sorted(entries):
            if total <= self.max_bytes:
                break
            leftovers.append(file)
            total -= size
        for file in leftovers:
            file.unlink(missing_ok=True)


def _read(path: Path) -> Arrays | None:
    """Read the arrays of a file and mark it as used now; None if it is absent or unreadable."""
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as kept:
            arrays = {name: kept[name] for name in kept.files}
        os.utime(path)
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as reason:
        log.warning("%s: cannot be read (%s) -> it is computed again", path, reason)
        return None
    return arrays
