"""Early stopping of search trials; cells of the plan are never stopped."""

from collections.abc import Callable
from typing import Literal

from ray.tune.execution.tune_controller import TuneController
from ray.tune.experiment import Trial
from ray.tune.schedulers import AsyncHyperBandScheduler, FIFOScheduler, MedianStoppingRule, TrialScheduler

from sweeps.study.types import Asha
from sweeps.study.types import TrialScheduler as Settings
from trainables.trial_spec import OBJECTIVE, UPDATE

_NO_END = 10**9  # no limit: a trial that is not stopped runs as long as every other cell


class SearchTrialsOnly(FIFOScheduler):  # type: ignore[misc]  # ray ships no types
    """Applies a trial_scheduler to the trials of each search of each arm separately; all other trials run to their end.

    The arms must have equal effort. A scheduler shared by all arms would stop every trial of a poor arm.

    Args:
        settings: The study's settings of the trial_scheduler.
        mode: Whether a larger or a smaller objective is better.
        report_every: Updates between two reports.
    """

    def __init__(self, settings: Settings, mode: Literal["max", "min"], report_every: int) -> None:
        super().__init__()
        self._make: Callable[[], TrialScheduler] = lambda: _trial_scheduler(settings, mode, report_every)
        self._of_search: dict[tuple[str, int], TrialScheduler] = {}

    def on_trial_add(self, tune_controller: TuneController, trial: Trial) -> None:
        """Pass a new trial to the arm's trial_scheduler."""
        if inner := self._inner(trial):
            inner.on_trial_add(tune_controller, trial)

    def on_trial_error(self, tune_controller: TuneController, trial: Trial) -> None:
        """Pass a lost trial to the arm's trial_scheduler."""
        if inner := self._inner(trial):
            inner.on_trial_error(tune_controller, trial)

    def on_trial_result(self, tune_controller: TuneController, trial: Trial, result: dict[str, object]) -> str:
        """Return the decision of the arm's trial_scheduler: continue or stop."""
        inner = self._inner(trial)
        decision = inner.on_trial_result(tune_controller, trial, result) if inner and OBJECTIVE in result else None
        return str(decision or TrialScheduler.CONTINUE)

    def on_trial_complete(self, tune_controller: TuneController, trial: Trial, result: dict[str, object]) -> None:
        """Pass a finished trial to the arm's trial_scheduler."""
        if (inner := self._inner(trial)) and OBJECTIVE in result:
            inner.on_trial_complete(tune_controller, trial, result)

    def on_trial_remove(self, tune_controller: TuneController, trial: Trial) -> None:
        """Pass a trial that was removed before its end to the arm's trial_scheduler."""
        if inner := self._inner(trial):
            inner.on_trial_remove(tune_controller, trial)

    def debug_string(self) -> str:
        """Name the arms with search trials."""
        arms = dict.fromkeys(arm for arm, _ in self._of_search)
        return f"trial_scheduler for the searches of {', '.join(arms) or 'no arm yet'}"

    def _inner(self, trial: Trial) -> TrialScheduler | None:
        spec = trial.config["spec"]
        if spec["stage"] != "search":
            return None
        return self._of_search.setdefault((spec["arm"], spec.get("repeat", 0)), self._make())


def _trial_scheduler(settings: Settings, mode: Literal["max", "min"], report_every: int) -> TrialScheduler:
    # Time is counted in updates, not in reports to Tune: their count restarts when a trial's actor is lost.
    common = {"metric": OBJECTIVE, "mode": mode, "time_attr": UPDATE, "grace_period": settings.grace * report_every}
    if isinstance(settings, Asha):
        rungs = {"reduction_factor": settings.factor, "max_t": _NO_END, "stop_last_trials": False}
        return AsyncHyperBandScheduler(**common, **rungs)
    return MedianStoppingRule(**common)
