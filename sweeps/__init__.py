"""Questions: study files, their arms and cells, how they are run and what came of them."""

import os

# Read by ray when it is imported, whichever of our modules comes first: no usage reports, no files of Tune's own beside
# the ledger's, and a token that keeps strangers out of a head which listens on every interface.
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
os.environ.setdefault("RAY_AUTH_MODE", "token")
os.environ.setdefault("TUNE_DISABLE_AUTO_CALLBACK_LOGGERS", "1")
os.environ.setdefault("TUNE_DISABLE_SIGINT_HANDLER", "1")  # Ctrl-C ends the run here, which knows what to say of it
os.environ.setdefault("RAY_AIR_NEW_OUTPUT", "0")  # the new one prints a banner even when told to be silent
os.environ.setdefault("RAY_CHDIR_TO_TRIAL_DIR", "0")  # a base may be a path relative to where the user stands
os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
