"""Ray for the tests of a module, in pytest's own process: to start it, and to import anew, takes seconds each time."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from sweeps.plan import load
from sweeps.proof import proved
from sweeps.results.ledger import study_folder
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


def prove_here(study: Path, storage: Path) -> None:
    """Leave a study's proof where its run in another process looks for it, which then has nothing to import for it."""
    plan = load(study)
    proved(plan, study_folder(storage, plan.study.name))
