"""Checkpoints of a training: a folder per step that appears whole or not at all, each rank's shard in it."""

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
from trainables.scaling import Scaling

log = logging.getLogger(__name__)

KEPT = 2
_ABOUT = "about.json"
_TAG = "state"
_UNIVERSAL = "universal"
_CONVERT_S = 1500
"""Seconds for a conversion; the other ranks wait for it, and a collective call of theirs gives up after 1,800."""


class CheckpointError(ValueError):
    """A checkpoint cannot be gone on from; the message says why and what can be done."""


class Checkpoints:
    """The checkpoints of one cell; every rank calls every method, at the same step.

    All ranks write into one hidden folder, which the first renames when all are done: what a kill leaves half-written
    is never seen. The newest two stay.

    Args:
        folder: The cell's folder, on storage that all ranks see.
        scaling: Of the worker group that is there now.
        precision: It trains in.
    """

    def __init__(self, folder: Path, scaling: Scaling, precision: str) -> None:
        self.folder = folder / CHECKPOINTS
        self._group: dict[str, Any] = {"workers": scaling.workers, "stage": scaling.zero.stage, "precision": precision}
        self._universal = scaling.zero.resume == "universal"

    def save(self, engine: Any, step: int, own: dict[str, Any]) -> bool:
        """Write a checkpoint; False where some rank could not, such as for a full disk. The last good one stays.

        Args:
            engine: DeepSpeed's.
            step: Updates done.
            own: What else the first rank keeps, as plain values.
        """
        part = self.folder / f".step-{step:08d}"
        first = dist.get_rank() == 0
        if first:
            shutil.rmtree(part, ignore_errors=True)
        with _noted_failures(engine.checkpoint_engine) as failures:
            engine.save_checkpoint(
                str(part), tag=_TAG, client_state=own, save_latest=False, exclude_frozen_parameters=True
            )
        failed = _first_of_all("".join(failures[:1]))
        if first and not failed:
            try:
                write_atomically(part / _ABOUT, json.dumps({"step": step, **self._group}).encode())
                self._put(part, step)
            except OSError as error:
                failed = str(error)
        failed = _first_of_all(failed)
        if first and failed:
            shutil.rmtree(part, ignore_errors=True)
            log.warning("no checkpoint at step %d (%s): the last good one stays", step, failed)
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
        """Go on from the newest good checkpoint: the updates done and what else was kept; (0, {}) where none is.

        Raises:
            CheckpointError: It is of another worker group, and universal checkpoints were not asked for.
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
        if about != self._group and about["stage"] > 0:  # unsharded, it is whole for any number of workers
            tag = _UNIVERSAL
            if failed := _first_of_all(_convert(newest) if dist.get_rank() == 0 else ""):
                raise CheckpointError(failed)
        engine._config.load_universal_checkpoint = tag == _UNIVERSAL
        path, own = engine.load_checkpoint(str(newest), tag=tag, load_module_strict=False)
        if path is None:
            raise CheckpointError(f"{newest} cannot be read -> delete it, and the training starts anew")
        return step, dict(own or {})

    def _refuse(self, about: dict[str, Any]) -> None:
        """Stop unless a checkpoint of another worker group can be converted, and that was asked for."""
        there, here = (", ".join(f"{key} {group[key]}" for key in sorted(group)) for group in (about, self._group))
        family = {0: "whole", 1: "sharded", 2: "sharded", 3: "scattered"}
        there_kind, here_kind = ((group["precision"], family[group["stage"]]) for group in (about, self._group))
        if there_kind != here_kind:
            raise CheckpointError(
                f"the checkpoint was written by {there}; this group is {here} -> the same precision and stage "
                f"(stages 1 and 2 may be exchanged), or delete {self.folder}"
            )
        if not self._universal:
            raise CheckpointError(
                f"the checkpoint was written by {there}; this group is {here} -> the same group, "
                "resources: {zero: {resume: universal}}, or delete " + str(self.folder)
            )

    def remove(self) -> None:
        """Delete them all: the training is over."""
        if dist.get_rank() == 0:
            shutil.rmtree(self.folder, ignore_errors=True)


def _first_of_all(failure: str) -> str:
    """The first rank's failure of those that any rank had, on every rank; empty where none had."""
    failures: list[str] = [""] * dist.get_world_size()
    dist.all_gather_object(failures, failure)
    return next(filter(None, failures), "")


@contextmanager
def _noted_failures(writer: Any) -> Iterator[list[str]]:
    """Have DeepSpeed's writer of files note what fails rather than raise it.

    After writing, its ranks meet: one that had left by an exception would leave the others waiting for it.
    """
    failures: list[str] = []

    def noting(write: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **options: Any) -> Any:
            try:
                return write(*args, **options)
            except (OSError, RuntimeError) as error:
                failures.append(f"{type(error).__name__}: {error}")

        return call

    own = writer.save, writer.makedirs
    writer.save, writer.makedirs = map(noting, own)
    try:
        yield failures
    finally:
        writer.save, writer.makedirs = own


def _convert(checkpoint: Path) -> str:
    """Make the universal form of a checkpoint beside it, with DeepSpeed's own converter; why not, where it fails."""
    command = [sys.executable, "-m", "deepspeed.checkpoint.ds_to_universal", "--inject_missing_state"]
    folders = ["--input_folder", str(checkpoint / _TAG), "--output_folder", str(checkpoint / _UNIVERSAL)]
    try:
        done = subprocess.run([*command, *folders], capture_output=True, text=True, timeout=_CONVERT_S)
    except subprocess.TimeoutExpired:
        return f"{checkpoint} was not converted within {_CONVERT_S} s -> the number of workers that wrote it"
    last = (done.stderr.strip() or "no word").splitlines()[-1]
    return f"{checkpoint} cannot be converted: {last}" if done.returncode else ""
