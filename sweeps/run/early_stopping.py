"""Early stopping of a search's trials; the cells of a plan are never stopped."""

from collections.abc import Callable
from typing import Literal

from ray.tune.execution.tune_controller import TuneController
from ray.tune.experiment import Trial
from ray.tune.schedulers import AsyncHyperBandScheduler, FIFOScheduler, MedianStoppingRule, TrialScheduler

from sweeps.study.types import Asha
from sweeps.study.types import TrialScheduler as Asked
from trainables.trial_spec import OBJECTIVE, UPDATE

_NO_END = 10**9  # a trial that is not stopped runs as long as every other cell


class SearchTrialsOnly(FIFOScheduler):  # type: ignore[misc]  # ray ships no types
    """Shows the trials of a search to a trial_scheduler, one for each arm, and runs all else to its end.

    One for each arm, because effort must be equal: beside a good arm, a poor one would have all its trials stopped.

    Args:
        asked: What the study asks for.
        mode: Whether a larger or a smaller objective is better.
        report_every: Updates between two reports.
    """

    def __init__(self, asked: Asked, mode: Literal["max", "min"], report_every: int) -> None:
        super().__init__()
        self._make: Callable[[], TrialScheduler] = lambda: _trial_scheduler(asked, mode, report_every)
        self._of_arm: dict[str, TrialScheduler] = {}

    def on_trial_add(self, tune_controller: TuneController, trial: Trial) -> None:
        """Tell the arm's trial_scheduler of a new trial."""
        if inner := self._inner(trial):
            inner.on_trial_add(tune_controller, trial)

    def on_trial_error(self, tune_controller: TuneController, trial: Trial) -> None:
        """Tell it of a lost one."""
        if inner := self._inner(trial):
            inner.on_trial_error(tune_controller, trial)

    def on_trial_result(self, tune_controller: TuneController, trial: Trial, result: dict[str, object]) -> str:
        """Ask it whether a trial goes on."""
        inner = self._inner(trial)
        decision = inner.on_trial_result(tune_controller, trial, result) if inner and OBJECTIVE in result else None
        return str(decision or TrialScheduler.CONTINUE)

    def on_trial_complete(self, tune_controller: TuneController, trial: Trial, result: dict[str, object]) -> None:
        """Tell it how a trial ended."""
        if (inner := self._inner(trial)) and OBJECTIVE in result:
            inner.on_trial_complete(tune_controller, trial, result)

    def on_trial_remove(self, tune_controller: TuneController, trial: Trial) -> None:
        """Tell it of one taken away before its end."""
        if inner := self._inner(trial):
            inner.on_trial_remove(tune_controller, trial)

    def debug_string(self) -> str:
        """The arms that are followed."""
        return f"trial_scheduler for the searches of {', '.join(self._of_arm) or 'no arm yet'}"

    def _inner(self, trial: Trial) -> TrialScheduler | None:
        spec = trial.config["spec"]
        if spec["stage"] != "search":
            return None
        return self._of_arm.setdefault(spec["arm"], self._make())


def _trial_scheduler(asked: Asked, mode: Literal["max", "min"], report_every: int) -> TrialScheduler:
    # By updates, not by reports to Tune: those are counted anew where a trial's actor was lost.
    settings = {"metric": OBJECTIVE, "mode": mode, "time_attr": UPDATE, "grace_period": asked.grace * report_every}
    if isinstance(asked, Asha):
        rungs = {"reduction_factor": asked.factor, "max_t": _NO_END, "stop_last_trials": False}
        return AsyncHyperBandScheduler(**settings, **rungs)
    return MedianStoppingRule(**settings)
