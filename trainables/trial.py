"""Ray Tune trainable: runs the cell of one TrialSpec on a warm worker or a worker group, and reports the outcome."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from ray import tune
from ray.tune.execution.placement_groups import resource_dict_to_pg_factory

from trainables.failures import DISK_FULL, in_words, is_disk_full
from trainables.trial_spec import OBJECTIVE, RESULT, UPDATE, Result, TrialSpec

if TYPE_CHECKING:
    from trainables.evaluate import Workbench
    from trainables.group import Group

FOLLOWED = "validation_loss"
"""Metric by which a trial_scheduler compares running trainings; lower is better."""


class CellTrial(tune.Trainable):  # type: ignore[misc]  # ray ships no types
    """Trial that runs one cell; Tune reuses the actor, so that the base is loaded once per worker.

    A cell without training runs here, in one step. A cell with training runs in a separate worker group; this actor
    then loads nothing, and makes one step per report of the group.

    The configuration is ``{"spec": TrialSpec.model_dump(mode="json"), "storage": folder, "warm": bool, "objective":
    key}``. With ``warm`` off, everything is loaded and computed again for every cell, to verify that reuse changes no
    result.
    """

    @classmethod
    def default_resource_request(cls, config: dict[str, Any]) -> tune.PlacementGroupFactory:
        """Return the resources of a trial: those of its worker, or almost none if the cell has a worker group.

        Worker groups reserve their own resources. A CPU per trial on top of them could cause a deadlock: trials hold
        CPUs while their groups wait for CPUs.
        """
        spec = TrialSpec.model_validate(config["spec"])
        return resource_dict_to_pg_factory(spec.scaling.per_worker if spec.training is None else {"memory": 1})

    def setup(self, config: dict[str, Any]) -> None:
        """Initialise quickly; libraries and base are loaded by the first cell.

        Tune assigns a waiting trial to the first free actor and cancels the one that is starting for it. If starting an
        actor took longer than a cell, cells would run one at a time.
        """
        self._bench: Workbench | None = None
        self._group: Group | None = None
        self._followed: dict[str, float] = {}
        self._smaller: TrialSpec | None = None
        self._retries: tuple[str, ...] = ()

    def step(self) -> dict[str, Any]:
        """Run the cell to its end, or to its next report; a failed cell is a result, not an exception.

        A cell whose result cannot be written, since the disk is full, ends with that reason: it is not repeated now.
        """
        spec = self._smaller or TrialSpec.model_validate(self.config["spec"])
        try:
            return self._run(spec) if spec.training is None else self._follow(spec)
        except OSError as error:
            if not is_disk_full(error):
                raise
            self._group = None
            last = {"cell_id": spec.cell_id, "status": "failed", "error": in_words(error), "done": True}
            return last | {"failure": DISK_FULL}

    def _run(self, spec: TrialSpec) -> dict[str, Any]:
        from trainables.evaluate import run_cell

        if self._bench is None or not self.config["warm"]:
            self._bench = self._workbench(spec)
        result = run_cell(spec, spec.folder(Path(self.config["storage"])), self._bench)
        assert result is not None, "only trained cells can be stopped"
        return {} if self._tries_again(spec, result) else self._last(result)

    def _follow(self, spec: TrialSpec) -> dict[str, Any]:
        """Return the next report of the cell's worker group, or the final one."""
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
        """Whether a cell that ran out of memory is rerun with smaller batches at the next step."""
        from trainables.cell_files import TRAINED

        folder = spec.folder(Path(self.config["storage"]))
        smaller = spec.with_smaller_batches(trained=(folder / TRAINED).exists())
        if result.failure != "out of memory" or smaller is None:
            return False
        (folder / RESULT).unlink()  # if the driver ends now, the cell is unfinished, not failed
        self._smaller, self._retries = smaller, (*self._retries, result.error)
        self._bench = None  # frees memory for the next attempt
        return True

    def _last(self, result: Result) -> dict[str, Any]:
        from trainables.cell_files import leave_result

        if self._retries:
            advice = "" if " -> " in result.error else " -> fewer or smaller frames: not even one clip at a time fits"
            error = result.error + advice if result.failure == "out of memory" else result.error
            result = result.model_copy(update={"retries": self._retries, "error": error})
            leave_result(result.spec.folder(Path(self.config["storage"])), result)
        report = {"cell_id": result.cell_id, "status": result.status, "error": result.error, "done": True}
        report["failure"] = result.failure
        if objective := result.scores.get(self.config["objective"]):
            report[OBJECTIVE] = objective.value
        return report

    def _workbench(self, spec: TrialSpec) -> "Workbench":
        """Make an empty workbench, and configure torch for this actor; cold workers do not use the shared cache."""
        from trainables.evaluate import Workbench, fit_torch

        fit_torch(max(1, int(self.trial_resources.required_resources.get("CPU", 1))))
        return Workbench.on(Path(self.config["storage"]), spec.scaling, shared=self.config["warm"])

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Accept the next cell on this actor, after the end of a stopped training."""
        self.cleanup()
        self._followed, self._smaller, self._retries = {}, None, ()
        return True

    def cleanup(self) -> None:
        """Stop a running training."""
        if self._group is not None:
            self._group.stop()
            self._group = None
