"""Checkpoints of a training: one folder per step with the shards of all ranks, written atomically."""

import json
import logging
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch.distributed as dist

from trainables.cell_files import CHECKPOINTS
from trainables.files import write_atomically
from trainables.interpreter import child_environment
from trainables.scaling import Scaling

log = logging.getLogger(__name__)

KEPT = 2
_ABOUT = "about.json"
_TAG = "state"
_UNIVERSAL = "universal"
_CONVERT_S = 1500
"""Time limit of a conversion in seconds; the collective calls of the waiting ranks time out after 1,800 s."""


class CheckpointError(ValueError):
    """A checkpoint cannot be resumed; the message gives the reason and the remedy."""


class Checkpoints:
    """Checkpoints of one cell; every rank calls every method, at the same step.

    All ranks write into one hidden folder, which the first rank renames at the end, so incomplete checkpoints are never
    visible. The newest two are kept.

    Args:
        folder: The cell's folder, on storage that all ranks see.
        scaling: Settings of the current worker group.
        precision: Precision of the training.
    """

    def __init__(self, folder: Path, scaling: Scaling, precision: str) -> None:
        self.folder = folder / CHECKPOINTS
        self._group: dict[str, Any] = {"workers": scaling.workers, "stage": scaling.zero.stage, "precision": precision}
        self._universal = scaling.zero.resume == "universal"

    def save(self, engine: Any, step: int, own: dict[str, Any]) -> bool:
        """Write a checkpoint; return False if a rank failed, such as on a full disk. Earlier checkpoints are then kept.

        Args:
            engine: DeepSpeed engine.
            step: Completed updates.
            own: Further plain values of the first rank.
        """
        part = self.folder / f".step-{step:08d}"
        first = dist.get_rank() == 0
        if first:
            shutil.rmtree(part, ignore_errors=True)
        with _collected_failures(engine.checkpoint_engine) as failures:
            engine.save_checkpoint(
                str(part), tag=_TAG, client_state=own, save_latest=False, exclude_frozen_parameters=True
            )
        failed = _first_failure("".join(failures[:1]))
        if first and not failed:
            try:
                write_atomically(part / _ABOUT, json.dumps({"step": step, **self._group}).encode())
                self._put(part, step)
            except OSError as error:
                failed = str(error)
        failed = _first_failure(failed)
        if first and failed:
            shutil.rmtree(part, ignore_errors=True)
            log.warning("checkpoint at step %d failed (%s); the last good one is kept", step, failed)
        return not failed

    def _put(self, part: Path, step: int) -> None:
        whole = self.folder / f"step-{step:08d}"
        shutil.rmtree(whole, ignore_errors=True)
        part.rename(whole)
        for old in self._whole()[:-KEPT]:
            shutil.rmtree(old, ignore_errors=True)

    def _whole(self) -> list[Path]:
        return sorted(path for path in self.folder.glob("step-*") if (path / _ABOUT).is_file())

    def load(self, engine: Any) -> tuple[int, dict[str, Any]]:
        """Resume from the newest checkpoint, and return its completed updates and further values; (0, {}) without one.

        Raises:
            CheckpointError: It is from another worker group and universal checkpoints are not enabled, or unreadable.
        """
        whole = self._whole()
        if not whole:
            return 0, {}
        newest = whole[-1]
        about = json.loads((newest / _ABOUT).read_bytes())
        step = int(about.pop("step"))
        tag = _TAG
        if about != self._group:
            self._refuse(about)
        if about != self._group and about["stage"] > 0:  # unsharded ones fit any number of workers
            tag = _UNIVERSAL
            if failed := _first_failure(_convert(newest) if dist.get_rank() == 0 else ""):
                raise CheckpointError(failed)
        engine._config.load_universal_checkpoint = tag == _UNIVERSAL
        path, own = engine.load_checkpoint(str(newest), tag=tag, load_module_strict=False)
        if path is None:
            raise CheckpointError(f"{newest}: cannot be read -> delete it, and the training starts again")
        return step, dict(own or {})

    def _refuse(self, about: dict[str, Any]) -> None:
        """Raise unless a checkpoint of another worker group can be converted, and conversion is enabled."""
        written, current = (", ".join(f"{key} {group[key]}" for key in sorted(group)) for group in (about, self._group))
        layouts = {0: "whole", 1: "sharded", 2: "sharded", 3: "scattered"}
        written_kind, current_kind = ((group["precision"], layouts[group["stage"]]) for group in (about, self._group))
        if written_kind != current_kind:
            raise CheckpointError(
                f"the checkpoint was written by {written}; this group is {current} -> the same precision and stage "
                f"(stages 1 and 2 are interchangeable), or delete {self.folder}"
            )
        if not self._universal:
            raise CheckpointError(
                f"the checkpoint was written by {written}; this group is {current} -> the same group, "
                "resources: {zero: {resume: universal}}, or delete " + str(self.folder)
            )

    def remove(self) -> None:
        """Delete all checkpoints, at the end of the training."""
        if dist.get_rank() == 0:
            shutil.rmtree(self.folder, ignore_errors=True)


def _first_failure(failure: str) -> str:
    """Return the first failure of any rank, on every rank; empty if there is none."""
    failures: list[str] = [""] * dist.get_world_size()
    dist.all_gather_object(failures, failure)
    return next(filter(None, failures), "")


@contextmanager
def _collected_failures(writer: Any) -> Iterator[list[str]]:
    """Collect the exceptions of DeepSpeed's file writer instead of raising them.

    Its ranks synchronise after writing; a rank that raised would leave the others waiting.
    """
    failures: list[str] = []

    def collecting(write: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **options: Any) -> Any:
            try:
                return write(*args, **options)
            except (OSError, RuntimeError) as error:
                failures.append(f"{type(error).__name__}: {error}")

        return call

    own = writer.save, writer.makedirs
    writer.save, writer.makedirs = map(collecting, own)
    try:
        yield failures
    finally:
        writer.save, writer.makedirs = own


def _convert(checkpoint: Path) -> str:
    """Convert a checkpoint to the universal format with DeepSpeed's converter; return the reason if it fails."""
    command = [sys.executable, "-m", "deepspeed.checkpoint.ds_to_universal", "--inject_missing_state"]
    folders = ["--input_folder", str(checkpoint / _TAG), "--output_folder", str(checkpoint / _UNIVERSAL)]
    try:
        done = subprocess.run(
            [*command, *folders], env=child_environment(), capture_output=True, text=True, timeout=_CONVERT_S
        )
    except subprocess.TimeoutExpired:
        return f"{checkpoint}: not converted within {_CONVERT_S} s -> the number of workers that wrote it"
    last = (done.stderr.strip() or "no message").splitlines()[-1]
    return f"{checkpoint}: cannot be converted ({last})" if done.returncode else ""
