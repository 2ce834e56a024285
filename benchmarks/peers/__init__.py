"""Baselines of the benchmarks: the same work without the engine."""
