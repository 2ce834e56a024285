"""Measurements behind the figures that are asked of the engine: ``python -m benchmarks.NAME``, or ``make bench``."""

import sweeps  # noqa: F401  # sets what ray reads when it is imported, before a benchmark imports it
