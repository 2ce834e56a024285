"""Classes of failures: infrastructure, memory, divergence, refused input, other errors."""

import errno

from models.system import NonFiniteError
from trainables.trial_spec import Failure, LostWorkerError

_INFRASTRUCTURE_ERRNOS = {
    errno.ENOSPC,
    errno.EDQUOT,
    errno.EIO,
    errno.ESTALE,
    errno.EROFS,
    errno.ENODEV,
    errno.ETIMEDOUT,
}


class OutOfMemoryError(RuntimeError):
    """A pass does not fit into the device's memory; the message names a smaller micro-batch."""


def classify(error: BaseException) -> Failure:
    """Classify a failure.

    Returns:
        ``infrastructure``: a worker, disk or connection was lost; the cell is rerun. ``out of memory``: the cell is
        rerun with smaller batches. ``diverged``: NaN or infinite values, which count as the method's result.
        ``refused``: the input is invalid. ``error``: anything else.
    """
    if isinstance(error, NonFiniteError):
        return "diverged"
    if is_out_of_memory(error):
        return "out of memory"
    if isinstance(error, LostWorkerError | ConnectionError | TimeoutError):
        return "infrastructure"
    if isinstance(error, OSError) and error.errno in _INFRASTRUCTURE_ERRNOS:
        return "infrastructure"
    if isinstance(error, ValueError | FileNotFoundError):
        return "refused"
    return "error"


def is_out_of_memory(error: BaseException) -> bool:
    """Whether GPU or CPU memory was exhausted; torch's CPU allocator raises a plain RuntimeError."""
    # By name: the caller may not have imported torch.
    if isinstance(error, MemoryError) or any(kind.__name__ == "OutOfMemoryError" for kind in type(error).__mro__):
        return True
    return isinstance(error, RuntimeError) and "alloc" in str(error).partition("\n")[0]
