"""Execution: what a Ray worker does for one cell, from the typed spec to the scored clips."""
