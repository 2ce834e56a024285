"""Settings of the Python interpreter, for this process and for the processes that it starts."""

import os
import sys
import warnings
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
"""The checkout, which Python's path must contain: the packages are not installed."""
_WARNINGS = "PYTHONWARNINGS"


def tolerate_warnings() -> None:
    """Do not turn warnings into errors, in this process and in all that it starts, whatever PYTHONWARNINGS and -W say.

    The libraries warn each other of deprecations; as errors, such warnings would end a study.
    """
    if any(map(_is_error, sys.warnoptions)):
        kept = [entry for entry in warnings.filters if entry[0] != "error"]
        warnings.resetwarnings()
        warnings.filters[:] = kept  # type: ignore[index]  # a list
        sys.warnoptions[:] = [option for option in sys.warnoptions if not _is_error(option)]
    if _WARNINGS in os.environ:
        os.environ[_WARNINGS] = _without_errors(os.environ[_WARNINGS])


def child_environment() -> dict[str, str]:
    """Return the environment of a Python process that imports from this checkout and tolerates warnings."""
    path = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
    tolerant = {_WARNINGS: _without_errors(os.environ[_WARNINGS])} if _WARNINGS in os.environ else {}
    return {**os.environ, "PYTHONPATH": path, **tolerant}


def _without_errors(options: str) -> str:
    return ",".join(option for option in options.split(",") if not _is_error(option))


def _is_error(option: str) -> bool:
    """Whether a warning option, such as ``error::DeprecationWarning``, has the action ``error``, also abbreviated."""
    action = option.strip().partition(":")[0].strip()
    return bool(action) and "error".startswith(action.lower())
