"""Trainables of Ray Tune for cells that compute nothing, and for trials without the engine."""

import shutil
import time
from pathlib import Path
from typing import Any

from ray import tune

from benchmarks.trivial import trivial_result
from models.bases import find_base, read_card
from trainables.cell_files import begin_attempt
from trainables.files import write_atomically
from trainables.metrics import resolve
from trainables.trial_spec import RESULT, TrialSpec


class RawTrial(tune.Trainable):  # type: ignore[misc]  # ray ships no types
    """Smallest possible trial; reports its end time."""

    def step(self) -> dict[str, Any]:
        """End immediately."""
        return {"ended": time.time(), "done": True}

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Accept the next trial on this actor."""
        return True


class TrivialCell(RawTrial):
    """A cell that writes its result and reports one metric point, both artificial."""

    def setup(self, config: dict[str, Any]) -> None:
        """Resolve the metrics once, since they are the same for all cells."""
        spec = TrialSpec.model_validate(config["spec"])
        card = read_card(find_base(spec.base))
        self._metrics = [resolve(family, card, spec.extractors, spec.base) for family in spec.metrics]

    def step(self) -> dict[str, Any]:
        """Write the files of a cell."""
        spec = TrialSpec.model_validate(self.config["spec"])
        folder = Path(self.config["storage"]) / spec.study / "cells" / spec.cell_id
        begin_attempt(folder)
        self.write_clips(folder)
        result = trivial_result(spec, self._metrics)
        write_atomically(folder / RESULT, result.model_dump_json(indent=1).encode())
        metrics = {key: score.value for key, score in result.scores.items()}
        return {"cell_id": spec.cell_id, "status": "done", "metrics": metrics, "done": True}

    def write_clips(self, folder: Path) -> None:
        """Write no clips."""


class TrivialCellWithClips(TrivialCell):
    """A trivial cell that also writes clips, a strip and films of noise, as large as the quickstart's."""

    def setup(self, config: dict[str, Any]) -> None:
        """Make the files once; every cell copies them."""
        import tempfile

        import numpy as np

        from trainables.cell_files import Drawn, save_clips

        super().setup(config)
        self._clips = Path(tempfile.mkdtemp())
        noise = np.random.default_rng(0).integers(0, 256, (8, 8, 32, 32, 3), dtype=np.uint8)
        save_clips(Drawn(noise, {}, "", ("noise",) * len(noise)), self._clips)

    def cleanup(self) -> None:
        """Remove the original files."""
        shutil.rmtree(self._clips)

    def write_clips(self, folder: Path) -> None:
        """Copy the files."""
        shutil.copytree(self._clips, folder, dirs_exist_ok=True)
