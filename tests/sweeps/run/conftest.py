"""Ray for the tests of a module, in pytest's own process: to start it, and to import anew, takes seconds each time."""

from collections.abc import Iterator

import pytest

from sweeps.run.cluster import connect, disconnect


@pytest.fixture(scope="module")
def cluster() -> Iterator[None]:
    """A Ray without a dashboard, which is all that cells without a worker group need."""
    connect()
    yield
    disconnect()


@pytest.fixture(scope="module")
def cluster_with_dashboard() -> Iterator[None]:
    """A Ray with a dashboard, which Ray Train asks before it frees what a lost group reserved."""
    connect(dashboard=True)
    yield
    disconnect()
