"""Results that trials share: computed once for what they depend on, kept on storage that all workers see.

An entry is known by its content: the hash of everything that decides it. It can be deleted at any time, and costs only
the time to compute it again.
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
_LEFTOVER_S = 3600.0  # no write takes so long: what is older is of a writer that was killed


class Cache:
    """Arrays by what they were computed from, in files under one folder.

    Of several workers that ask for the same entry at once one computes and the others wait for it; the lock is the
    kernel's, so that a killed worker holds none. A file appears whole or not at all, and one that cannot be read is
    computed again. When the folder outgrows its bound, the entries that were used longest ago go.

    Args:
        folder: Made by the first entry.
        max_bytes: Bound on all entries together; a larger entry is handed out and not kept.
    """

    def __init__(self, folder: Path, max_bytes: int = MAX_BYTES) -> None:
        self.folder = folder
        self.max_bytes = max_bytes

    def arrays(self, depends_on: Mapping[str, Any], compute: Callable[[], Arrays]) -> Arrays:
        """The arrays of an entry, computed if they are not there.

        Args:
            depends_on: Everything that decides them, as plain values; the code that computes them included.
            compute: Computes them.

        Raises:
            OSError: The folder cannot be written.
        """
        key = json_hash(depends_on, 32)
        path = self.folder / f"{key}.npz"
        if (found := _read(path)) is not None:
            return found
        self.folder.mkdir(parents=True, exist_ok=True)
        with locked(self.folder / f".{key}.lock"):
            if (found := _read(path)) is not None:
                return found
            computed = dict(compute())
            content = io.BytesIO()
            np.savez(content, **computed)  # type: ignore[arg-type]  # its stubs take a flag for an array
            if content.tell() <= self.max_bytes:
                write_atomically(path, content.getvalue())
        self._trim()
        return computed

    def _trim(self) -> None:
        """Remove what was used longest ago until the rest is within the bound, and what killed writers left."""
        entries, leftovers = [], []
        for file in self.folder.iterdir():
            try:
                about = file.stat()
            except FileNotFoundError:  # another worker was quicker
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
    """The arrays of a file, which counts as used now; None where there are none that can be read."""
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as kept:
            arrays = {name: kept[name] for name in kept.files}
        os.utime(path)
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as reason:
        log.warning("%s cannot be read (%s): it is computed again", path, reason)
        return None
    return arrays
