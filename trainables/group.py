"""A cell's worker group, started inside its Tune trial: Ray Train's TorchTrainer, followed from outside."""

import os
import threading
import time
from pathlib import Path
from typing import Any

from trainables.cell_files import (
    ORIGIN,
    STOP,
    TRAINED,
    has_clips,
    discard_stale_training,
    leave_result,
    result_without_clips,
)
from trainables.failures import classify
from trainables.provenance import origin
from trainables.reservations import remove_orphaned_placement_groups
from trainables.spool import Point, Spool
from trainables.trial_spec import RESULT, LostWorkerError, TrialSpec

MAX_LOST = 2
"""How often a group that lost a worker is started again within one trial."""
POLL_S = 0.1
LOOK_S = 5.0
"""Between two looks for reservations of groups that are gone."""
STOP_S = 120.0
"""Seconds that a group is given to come to its end when it is told to."""


class Group:
    """The worker group of one cell, from its start to its end.

    It runs in a thread, since Tune wants to hear from a trial on its way. What its first rank reports is read from the
    cell's spool, which outlives every process.

    Args:
        spec: The cell; ``scaling.gpus_per_worker`` is decided.
        storage: Folder of all studies.
        warm: Whether results that cells share are kept.
    """

    def __init__(self, spec: TrialSpec, storage: Path, *, warm: bool) -> None:
        self.spec = spec
        self.folder = spec.folder(storage)
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / STOP).unlink(missing_ok=True)
        # Weights are hashed only where there is a hash to compare with.
        discard_stale_training(self.folder, origin(spec.system, spec.base) if (self.folder / ORIGIN).exists() else {})
        self._storage, self._warm = storage, warm
        self._spool = Spool(self.folder)
        self._line = max((point.line + 1 for point in self._spool.points()), default=0)
        self._before = _modified(self.folder / RESULT)
        self._error: Exception | None = None
        self._look = 0.0
        self._thread = threading.Thread(target=self._follow, name="worker group", daemon=True)
        self._thread.start()

    def next(self) -> Point | None:
        """The next report, waiting for it; None when the group has come to its end.

        Raises:
            LostWorkerError: It lost a worker again and again.
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
            self._free()
            self._thread.join(POLL_S)

    def _free(self) -> None:
        """Now and then, see that this group does not wait for what a dead one holds."""
        if time.monotonic() > self._look:
            remove_orphaned_placement_groups()
            self._look = time.monotonic() + LOOK_S

    def stop(self) -> None:
        """Have the group end before its time, and wait for it: a group that is torn down leaves its reservation."""
        if self._thread.is_alive():
            (self.folder / STOP).touch()
            self._thread.join(STOP_S)
        if not self._thread.is_alive():  # else it is still to read it
            (self.folder / STOP).unlink(missing_ok=True)

    def _follow(self) -> None:
        try:
            for _ in range(MAX_LOST + 1):
                if self._run():
                    return
            raise LostWorkerError(f"its worker group lost a worker {MAX_LOST + 1} times")
        except Exception as error:
            self._error = error

    def _run(self) -> bool:
        """Run the group once; False where it lost a worker."""
        from ray.train import TrainingFailedError

        try:
            self._trainer().fit()
        except TrainingFailedError as error:
            if _modified(self.folder / RESULT) != self._before:
                return True
            failures = [_unwrapped(failure) for failure in getattr(error, "worker_failures", {}).values()]
            own = [failure for failure in failures if not _is_loss(failure)]
            if not own:
                return False
            self._leave_failure(own[0])
        return True

    def _trainer(self) -> Any:
        # The controller looks at its workers this often; its 2 s would be most of a short training's overhead.
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

    def _leave_failure(self, error: BaseException) -> None:
        """The result of a cell that failed on a rank other than the first."""
        message = f"{type(error).__name__}: {error}"
        leave_result(self.folder, result_without_clips(self.spec, "failed", message, failure=classify(error)))


def _unwrapped(failure: BaseException) -> BaseException:
    """The exception that a rank's own code raised, without what Ray may have put around it."""
    from ray.train.v2._internal.exceptions import UserExceptionWithTraceback

    return failure._base_exc if isinstance(failure, UserExceptionWithTraceback) else failure


def _is_loss(failure: BaseException) -> bool:
    """Whether it says that a rank is gone, rather than what its code raised."""
    from ray.exceptions import RayError
    from ray.train.v2.api.exceptions import RayTrainError

    return isinstance(failure, LostWorkerError | RayError | RayTrainError)


def _modified(path: Path) -> int:
    return path.stat().st_mtime_ns if path.exists() else 0
