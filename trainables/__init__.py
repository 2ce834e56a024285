"""Execution of one cell on a Ray worker, from its typed spec to scored clips."""
