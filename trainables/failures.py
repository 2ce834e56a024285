"""What kind of failure an error is: of the machine, of memory, of the method, or of what was asked."""

import errno

from models.system import NonFiniteError
from trainables.trial_spec import Failure, LostWorkerError

_OF_THE_MACHINE = {errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.ESTALE, errno.EROFS, errno.ENODEV, errno.ETIMEDOUT}


class OutOfMemoryError(RuntimeError):
    """The device's memory does not hold a pass; the message says which micro-batch to try."""


def classify(error: BaseException) -> Failure:
    """The class of a failure, which decides who is charged with it.

    Returns:
        ``infrastructure``: a worker, disk or connection is gone, and the cell is done again. ``out of memory``: it is
        tried in smaller pieces. ``diverged``: the method left the finite numbers, which is its result. ``refused``:
        what was asked cannot be done. ``error``: anything else.
    """
    if isinstance(error, NonFiniteError):
        return "diverged"
    if is_out_of_memory(error):
        return "out of memory"
    if isinstance(error, LostWorkerError | ConnectionError | TimeoutError):
        return "infrastructure"
    if isinstance(error, OSError) and error.errno in _OF_THE_MACHINE:
        return "infrastructure"
    if isinstance(error, ValueError | FileNotFoundError):
        return "refused"
    return "error"


def is_out_of_memory(error: BaseException) -> bool:
    """Whether memory did not suffice, on a GPU or on the processor, whose allocator has no error of its own."""
    # By name: who asks of a worker group's error has not loaded torch, whose class it may be.
    if isinstance(error, MemoryError) or any(kind.__name__ == "OutOfMemoryError" for kind in type(error).__mro__):
        return True
    return isinstance(error, RuntimeError) and "alloc" in str(error).partition("\n")[0]
