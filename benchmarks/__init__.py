"""Benchmarks of the engine against its performance targets: ``python -m benchmarks.NAME``, or ``make bench``.

Nothing is imported here: ``benchmarks.peers`` must use Ray with its defaults, without the settings of ``sweeps``.
"""
