"""What Ray Tune calls: decode one TrialSpec, run its cell on a warm worker or a worker group, report the outcome."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from ray import tune

from trainables.trial_spec import OBJECTIVE, RESULT, UPDATE, Result, TrialSpec

if TYPE_CHECKING:
    from trainables.evaluate import Workbench
    from trainables.group import Group

FOLLOWED = "validation_loss"
"""What a trial_scheduler compares of trainings on their way; lower is better."""


class CellTrial(tune.Trainable):  # type: ignore[misc]  # ray ships no types
    """A trial that is one cell; Tune reuses the actor, so that the base is loaded once per worker.

    A cell without training runs here, in one step. A cell with training runs in a worker group beside this actor, which
    then loads nothing and takes a step for each of the group's reports.

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
        self._group: Group | None = None
        self._followed: dict[str, float] = {}
        self._smaller: TrialSpec | None = None
        self._retries: tuple[str, ...] = ()

    def step(self) -> dict[str, Any]:
        """Run the cell to its end, or to its next report; a failed cell is a result, not an exception."""
        spec = self._smaller or TrialSpec.model_validate(self.config["spec"])
        return self._run(spec) if spec.training is None else self._follow(spec)

    def _run(self, spec: TrialSpec) -> dict[str, Any]:
        from trainables.evaluate import run_cell

        if self._bench is None or not self.config["warm"]:
            self._bench = self._workbench(spec)
        result = run_cell(spec, spec.folder(Path(self.config["storage"])), self._bench)
        assert result is not None, "nothing is trained here that could be stopped"
        return {} if self._tries_again(spec, result) else self._last(result)

    def _follow(self, spec: TrialSpec) -> dict[str, Any]:
        """The next report of the cell's worker group, or its end."""
        from trainables.group import Group

        if self._group is None:
            self._group = Group(spec, Path(self.config["storage"]), warm=self.config["warm"])
        point = self._group.next()
        if point is not None:
            if FOLLOWED in point.metrics:
                self._followed = {OBJECTIVE: point.metrics[FOLLOWED], UPDATE: point.step}
            return dict(self._followed)
        self._group = None
        result = Result.model_validate_json((spec.folder(Path(self.config["storage"])) / RESULT).read_bytes())
        if self._tries_again(spec, result):
            return dict(self._followed)
        return self._last(result) | self._followed

    def _tries_again(self, spec: TrialSpec, result: Result) -> bool:
        """Whether a cell whose memory did not suffice is done once more, in smaller pieces, at the next step."""
        from trainables.cell_files import TRAINED

        folder = spec.folder(Path(self.config["storage"]))
        smaller = spec.in_smaller_pieces(trained=(folder / TRAINED).exists())
        if result.failure != "out of memory" or smaller is None:
            return False
        (folder / RESULT).unlink()  # a driver that ends now finds the cell undone, not failed
        self._smaller, self._retries = smaller, (*self._retries, result.error)
        self._bench = None  # room for what comes next
        return True

    def _last(self, result: Result) -> dict[str, Any]:
        from trainables.cell_files import leave_result

        if self._retries:
            result = result.model_copy(update={"retries": self._retries})
            leave_result(result.spec.folder(Path(self.config["storage"])), result)
        report = {"cell_id": result.cell_id, "status": result.status, "error": result.error, "done": True}
        if objective := result.scores.get(self.config["objective"]):
            report[OBJECTIVE] = objective.value
        return report

    def _workbench(self, spec: TrialSpec) -> "Workbench":
        """An empty workbench, and torch fitted to this actor; a cold one shares nothing with other workers."""
        from trainables.evaluate import Workbench, fit_torch

        fit_torch(max(1, int(self.trial_resources.required_resources.get("CPU", 1))))
        return Workbench.on(Path(self.config["storage"]), spec.scaling, shared=self.config["warm"])

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Accept the next cell on this actor; a training that was stopped for it comes to its end first."""
        self.cleanup()
        self._followed, self._smaller, self._retries = {}, None, ()
        return True

    def cleanup(self) -> None:
        """End a training that is still under way."""
        if self._group is not None:
            self._group.stop()
            self._group = None
