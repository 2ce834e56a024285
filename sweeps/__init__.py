"""Studies: study files, their arms and cells, their execution and their results."""

import os

# Ray reads these when it is imported: no usage reports, no log files of Tune beside the ledger's, and authentication by
# token, since the head listens on all network interfaces.
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
os.environ.setdefault("RAY_AUTH_MODE", "token")
os.environ.setdefault("TUNE_DISABLE_AUTO_CALLBACK_LOGGERS", "1")
os.environ.setdefault("TUNE_DISABLE_SIGINT_HANDLER", "1")  # the driver handles Ctrl-C
os.environ.setdefault("RAY_AIR_NEW_OUTPUT", "0")  # the new output prints a banner even if silenced
os.environ.setdefault("RAY_CHDIR_TO_TRIAL_DIR", "0")  # a base may be a relative path
os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
