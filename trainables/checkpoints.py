"""Checkpoints of a training: a folder per step that appears whole or not at all, each rank's shard in it."""

import json
import logging
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import torch.distributed as dist

from trainables.files import write_atomically
from trainables.scaling import Scaling

log = logging.getLogger(__name__)

FOLDER = "checkpoints"
"""Name of their folder in a cell's folder."""
KEPT = 2
_ABOUT = "about.json"
_TAG = "state"
_UNIVERSAL = "universal"


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
        self.folder = folder / FOLDER
        self._group = {"workers": scaling.workers, "stage": scaling.zero.stage, "precision": precision}
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
        reason = ""
        try:
            if first:
                shutil.rmtree(part, ignore_errors=True)
                part.mkdir(parents=True)
            dist.barrier()
            engine.save_checkpoint(str(part), tag=_TAG, client_state=own, exclude_frozen_parameters=True)
        except (OSError, RuntimeError) as error:
            reason = f"{type(error).__name__}: {error}"
        reasons: list[str] = [""] * dist.get_world_size()
        dist.all_gather_object(reasons, reason)
        written = not any(reasons)
        if first and written:
            try:
                write_atomically(part / _ABOUT, json.dumps({"step": step, **self._group}).encode())
                self._put(part, step)
            except OSError as error:
                written, reasons[0] = False, str(error)
        if first and not written:
            shutil.rmtree(part, ignore_errors=True)
            log.warning("no checkpoint at step %d (%s): the last good one stays", step, next(filter(None, reasons)))
        dist.barrier()
        return written

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
            tag = _UNIVERSAL
            if dist.get_rank() == 0:
                _convert(newest)
            dist.barrier()
        engine._config.load_universal_checkpoint = tag == _UNIVERSAL
        path, own = engine.load_checkpoint(str(newest), tag=tag, load_module_strict=False)
        if path is None:
            raise CheckpointError(f"{newest} cannot be read -> delete it, and the training starts anew")
        return step, dict(own or {})

    def _refuse(self, about: dict[str, Any]) -> None:
        """Stop unless a checkpoint of another worker group can be converted, and that was asked for."""
        there, here = (", ".join(f"{key} {group[key]}" for key in sorted(group)) for group in (about, self._group))
        if about["precision"] != self._group["precision"] or (about["stage"] == 3) != (self._group["stage"] == 3):
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


def _convert(checkpoint: Path) -> None:
    """Make the universal form of a checkpoint beside it, with DeepSpeed's own converter."""
    command = [sys.executable, "-m", "deepspeed.checkpoint.ds_to_universal", "--inject_missing_state"]
    folders = ["--input_folder", str(checkpoint / _TAG), "--output_folder", str(checkpoint / _UNIVERSAL)]
    done = subprocess.run([*command, *folders], capture_output=True, text=True, timeout=3600)
    if done.returncode:
        raise CheckpointError(f"{checkpoint} cannot be converted: {done.stderr.strip().splitlines()[-1]}")
