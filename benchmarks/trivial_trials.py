"""What Ray Tune calls for cells that compute nothing, and for trials that have nothing to do with the engine at all."""

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
    """The least that Ray Tune can be given to do; reports when it ended."""

    def step(self) -> dict[str, Any]:
        """End at once."""
        return {"ended": time.time(), "done": True}

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Accept the next trial on this actor."""
        return True


class TrivialCell(RawTrial):
    """A cell that leaves its result and reports one metric point, both made up."""

    def setup(self, config: dict[str, Any]) -> None:
        """Resolve the metrics once: they are the same for all cells."""
        spec = TrialSpec.model_validate(config["spec"])
        card = read_card(find_base(spec.base))
        self._metrics = [resolve(family, card, spec.extractors, spec.base) for family in spec.metrics]

    def step(self) -> dict[str, Any]:
        """Leave what a cell leaves."""
        spec = TrialSpec.model_validate(self.config["spec"])
        folder = Path(self.config["storage"]) / spec.study / "cells" / spec.cell_id
        begin_attempt(folder)
        self.leave_clips(folder)
        result = trivial_result(spec, self._metrics)
        write_atomically(folder / RESULT, result.model_dump_json(indent=1).encode())
        metrics = {key: score.value for key, score in result.scores.items()}
        return {"cell_id": spec.cell_id, "status": "done", "metrics": metrics, "done": True}

    def leave_clips(self, folder: Path) -> None:
        """None: a trivial cell is its result."""


class TrivialCellWithClips(TrivialCell):
    """A trivial cell that leaves clips too, a strip and films as large as the quickstart's, all of noise."""

    def setup(self, config: dict[str, Any]) -> None:
        """Make the files once; every cell gets a copy."""
        import tempfile

        import numpy as np

        from trainables.cell_files import Drawn, save_clips

        super().setup(config)
        self._clips = Path(tempfile.mkdtemp())
        noise = np.random.default_rng(0).integers(0, 256, (8, 8, 32, 32, 3), dtype=np.uint8)
        save_clips(Drawn(noise, {}, "", ("noise",) * len(noise)), self._clips)

    def cleanup(self) -> None:
        """Remove what was copied from."""
        shutil.rmtree(self._clips)

    def leave_clips(self, folder: Path) -> None:
        """Copy the files."""
        shutil.copytree(self._clips, folder, dirs_exist_ok=True)
