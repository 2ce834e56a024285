"""Worker group of one cell: Ray Train's TorchTrainer in a thread of the Tune trial."""

import os
import threading
import time
from pathlib import Path
from typing import Any

from trainables.cell_files import (
    ORIGIN,
    STOP,
    TRAINED,
    discard_stale_training,
    has_clips,
    leave_result,
    result_without_clips,
)
from trainables.failures import classify, in_words
from trainables.provenance import origin
from trainables.reservations import remove_orphaned_placement_groups
from trainables.spool import Point, Spool
from trainables.trial_spec import RESULT, LostWorkerError, TrialSpec

MAX_LOST = 2
"""Restarts within one trial of a group that lost a worker."""
POLL_S = 0.1
CLEANUP_S = 5.0
"""Seconds between two removals of orphaned placement groups."""
STOP_S = 120.0
"""Seconds that a group has to end after a stop request."""


class Group:
    """Worker group of one cell.

    It runs in a thread, so that the trial can report to Tune meanwhile. Reports of its first rank are read from the
    cell's spool, which survives all processes.

    Args:
        spec: The cell, with ``scaling.gpus_per_worker`` set.
        storage: Folder of all studies.
        warm: Whether to use the cache shared by the workers.
    """

    def __init__(self, spec: TrialSpec, storage: Path, *, warm: bool) -> None:
        self.spec = spec
        self.folder = spec.folder(storage)
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / STOP).unlink(missing_ok=True)
        # Hash the weights only if there is an earlier hash to compare with.
        discard_stale_training(self.folder, origin(spec) if (self.folder / ORIGIN).exists() else {})
        self._storage, self._warm = storage, warm
        self._spool = Spool(self.folder)
        self._line = max((point.line + 1 for point in self._spool.points()), default=0)
        self._before = _modified(self.folder / RESULT)
        self._error: Exception | None = None
        self._next_cleanup = 0.0
        self._thread = threading.Thread(target=self._follow, name="worker group", daemon=True)
        self._thread.start()

    def next(self) -> Point | None:
        """Wait for the next report; None when the group has ended.

        Raises:
            LostWorkerError: The group lost workers too often.
        """
        while True:
            alive = self._thread.is_alive()
            for point in self._spool.points(self._line):
                self._line = point.line + 1
                return point
            if not alive:
                if self._error is not None:
                    raise self._error
                return None
            self._clean_up()
            self._thread.join(POLL_S)

    def _clean_up(self) -> None:
        """Remove orphaned placement groups, for which this group would wait."""
        if time.monotonic() > self._next_cleanup:
            remove_orphaned_placement_groups()
            self._next_cleanup = time.monotonic() + CLEANUP_S

    def stop(self) -> None:
        """Request an early end of the group, and wait for it; a killed group would keep its placement group."""
        if self._thread.is_alive():
            (self.folder / STOP).touch()
            self._thread.join(STOP_S)
        if not self._thread.is_alive():  # a running group has still to read it
            (self.folder / STOP).unlink(missing_ok=True)

    def _follow(self) -> None:
        try:
            for _ in range(MAX_LOST + 1):
                if self._run():
                    return
            raise LostWorkerError(f"the worker group lost a worker {MAX_LOST + 1} times")
        except Exception as error:
            self._error = error

    def _run(self) -> bool:
        """Run the group once; return False if it lost a worker."""
        from ray.train import TrainingFailedError

        try:
            self._trainer().fit()
        except TrainingFailedError as error:
            if _modified(self.folder / RESULT) != self._before:
                return True
            failures = [_unwrapped(failure) for failure in getattr(error, "worker_failures", {}).values()]
            errors = [failure for failure in failures if not _is_loss(failure)]
            if not errors:
                return False
            self._write_failure(errors[0])
        return True

    def _trainer(self) -> Any:
        # Interval of the controller's health checks; the default of 2 s dominates the overhead of short trainings.
        os.environ.setdefault("RAY_TRAIN_HEALTH_CHECK_INTERVAL_S", "0.2")
        from ray.train import FailureConfig, RunConfig, ScalingConfig
        from ray.train.torch import TorchConfig, TorchTrainer

        from trainables.worker import train_loop_per_worker

        scaling = self.spec.scaling
        resources = scaling.per_worker
        done = (self.folder / TRAINED).is_file() or has_clips(self.folder)
        return TorchTrainer(
            train_loop_per_worker,
            train_loop_config={
                "spec": self.spec.model_dump(mode="json"),
                "storage": str(self._storage),
                "warm": self._warm,
                "train": not done,
            },
            scaling_config=ScalingConfig(
                num_workers=scaling.workers, use_gpu=resources["GPU"] > 0, resources_per_worker=resources
            ),
            torch_config=TorchConfig(backend="nccl" if resources["GPU"] > 0 else "gloo"),
            run_config=RunConfig(
                name=f"{self.spec.cell_id}-{time.time_ns()}",
                storage_path=str(self._storage / self.spec.study / ".tune" / "groups"),
                failure_config=FailureConfig(max_failures=0),
            ),
        )

    def _write_failure(self, error: BaseException) -> None:
        """Write the result of a cell that failed on a rank other than the first."""
        failed = result_without_clips(self.spec, "failed", in_words(error), failure=classify(error))
        leave_result(self.folder, failed)


def _unwrapped(failure: BaseException) -> BaseException:
    """Return the exception raised by a rank's own code, without Ray's wrapper."""
    from ray.train.v2._internal.exceptions import UserExceptionWithTraceback

    return failure._base_exc if isinstance(failure, UserExceptionWithTraceback) else failure


def _is_loss(failure: BaseException) -> bool:
    """Whether the failure is a lost rank rather than an exception of its code."""
    from ray.exceptions import RayError
    from ray.train.v2.api.exceptions import RayTrainError

    return isinstance(failure, LostWorkerError | RayError | RayTrainError)


def _modified(path: Path) -> int:
    return path.stat().st_mtime_ns if path.exists() else 0
