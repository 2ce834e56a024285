"""What Ray Tune calls: decode one TrialSpec, run its cell on a warm worker, report the outcome."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from ray import tune

from trainables.trial_spec import OBJECTIVE, TrialSpec

if TYPE_CHECKING:
    from trainables.evaluate import Workbench


class CellTrial(tune.Trainable):  # type: ignore[misc]  # ray ships no types
    """A trial that is one cell; Tune reuses the actor, so that the base is loaded once per worker.

    The configuration is ``{"spec": TrialSpec.model_dump(mode="json"), "storage": folder, "warm": bool, "objective":
    key}``. With ``warm`` off, everything is loaded and computed anew for every cell: the way to show that reuse changes
    no result.
    """

    def setup(self, config: dict[str, Any]) -> None:
        """Nothing that takes time: libraries and base come with the first cell.

        Tune gives a waiting trial the first worker that is free and drops the one that is still starting for it. A
        worker that took longer to start than a cell takes would never get to live, and cells would run one at a time.
        """
        self._bench: Workbench | None = None

    def step(self) -> dict[str, Any]:
        """Run the cell to its end; a failed cell is a result, not an exception."""
        from trainables.evaluate import run_cell

        spec = TrialSpec.model_validate(self.config["spec"])
        if self._bench is None or not self.config["warm"]:
            self._bench = self._workbench()
        folder = Path(self.config["storage"]) / spec.study / "cells" / spec.cell_id
        result = run_cell(spec, folder, self._bench)
        report = {"cell_id": result.cell_id, "status": result.status, "error": result.error, "done": True}
        if objective := result.scores.get(self.config["objective"]):
            report[OBJECTIVE] = objective.value
        return report

    def _workbench(self) -> "Workbench":
        """An empty workbench, and torch fitted to this actor; a cold one shares nothing with other workers."""
        import cv2
        import torch

        from trainables.cache import FOLDER, Cache
        from trainables.evaluate import Workbench

        threads = max(1, int(self.trial_resources.required_resources.get("CPU", 1)))
        torch.set_num_threads(threads)
        cv2.setNumThreads(threads)
        storage = Path(self.config["storage"])
        return Workbench(storage / "references", Cache(storage / FOLDER) if self.config["warm"] else None)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Accept the next cell on this actor."""
        return True
