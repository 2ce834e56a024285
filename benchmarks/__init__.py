"""Measurements behind the figures that are asked of the engine: ``python -m benchmarks.NAME``, or ``make bench``.

Nothing is imported here: ``benchmarks.peers`` must find Ray as it comes, without what ``sweeps`` sets for it.
"""
