"""Classes of failures: infrastructure, full disks, memory, divergence, refused input, other errors."""

import errno
import os
import re

from models.system import NonFiniteError, is_out_of_memory
from trainables.trial_spec import Failure, LostWorkerError

_DISK_FULL_ERRNOS = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_INFRASTRUCTURE_ERRNOS = {errno.EIO, errno.ESTALE, errno.EROFS, errno.ENODEV, errno.ETIMEDOUT}
_STORAGE_ERRNOS = _DISK_FULL_ERRNOS | _INFRASTRUCTURE_ERRNOS | {errno.EACCES, errno.EPERM}
_ERRNO_IN_TEXT = re.compile(r"\(os error (\d+)\)")
DISK_FULL: Failure = "disk full"
"""Class of a failure: no further cell can be written either."""


class OutOfMemoryError(RuntimeError):
    """A pass does not fit into the device's memory; the message names a smaller micro-batch."""


def classify(error: BaseException) -> Failure:
    """Classify a failure.

    Returns:
        ``infrastructure``: a worker, disk or connection was lost; the cell is rerun. ``disk full``: the run ends, and
        the next one reruns the cell. ``out of memory``: the cell is rerun with smaller batches. ``diverged``: NaN or
        infinite values, which count as the result of the method. ``refused``: the input is invalid. ``error``: others.
    """
    if isinstance(error, NonFiniteError):
        return "diverged"
    if is_out_of_memory(error):
        return "out of memory"
    if is_disk_full(error):
        return DISK_FULL
    if isinstance(error, LostWorkerError | ConnectionError | TimeoutError):
        return "infrastructure"
    if isinstance(error, OSError) and error.errno in _INFRASTRUCTURE_ERRNOS:
        return "infrastructure"
    if isinstance(error, ValueError | FileNotFoundError):
        return "refused"
    return "error"


def in_words(error: BaseException) -> str:
    """Word the error of a cell: the name of its class, and its message."""
    return f"{type(error).__name__}: {error}"


def is_disk_full(error: BaseException) -> bool:
    """Whether a file could not be written for lack of space, a quota, or a limit on the size of files."""
    return disk_failure(error) is not None


def disk_failure(error: BaseException | None) -> OSError | None:
    """Return the operating system's error of a full disk, of which another error may be the consequence.

    Libraries written in Rust, such as safetensors, give its number in the text of their own error.
    """
    while error is not None:
        if isinstance(error, OSError) and error.errno in _DISK_FULL_ERRNOS:
            return error
        found = _ERRNO_IN_TEXT.search(str(error))
        if found and int(found[1]) in _DISK_FULL_ERRNOS:
            return OSError(int(found[1]), os.strerror(int(found[1])))
        error = error.__cause__
    return None


def is_unwritable(error: BaseException) -> bool:
    """Whether a file could not be written for a reason that the storage gives: a full disk, permissions, a fault."""
    return isinstance(error, OSError) and error.errno in _STORAGE_ERRNOS


def unwritten(error: OSError) -> str:
    """Word an error of writing a file: ``cannot be written (No space left on device: table.md)``."""
    where = f": {error.filename}" if error.filename else ""
    return f"cannot be written ({error.strerror or error}{where})"
