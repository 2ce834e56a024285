"""Plan of a study: arms, cells, metrics and notes."""

from collections.abc import Callable
from dataclasses import dataclass, replace

from sweeps.plan.arms import Arm
from sweeps.plan.cells import Cell
from sweeps.plan.search import SearchPlan
from sweeps.statistics.sequential import Looks
from sweeps.study.designs import Contrast
from sweeps.study.types import Study
from trainables.data.content import Content
from trainables.metrics import MetricKey
from trainables.trial_spec import TrialSpec


@dataclass(frozen=True)
class Plan:
    """Plan of a study: its cells, metrics and notes.

    Args:
        study: The study file.
        arms: The control first, then the arms in the order of the study.
        cells: Seed by seed, each over all arms, so that an interrupted study is balanced.
        metrics: The study's metrics with their extractors fixed, companions included.
        notes: Merged arms, added metrics, and notes of parts.
        warnings: Requirements that this machine lacks.
        search: The hyperparameter search, or None; its cells are not among ``cells``.
        contrasts: Effects that the design estimates besides each arm's difference from the control.
        prompts: Prompts that the study lists; empty where they are drawn.
        ends: Looks of each earlier end of the study, as its folder tells.
    """

    study: Study
    arms: tuple[Arm, ...]
    cells: tuple[Cell, ...]
    metrics: tuple[MetricKey, ...]
    notes: tuple[str, ...]
    warnings: tuple[str, ...]
    search: SearchPlan | None = None
    contrasts: tuple[Contrast[str], ...] = ()
    prompts: tuple[str, ...] = ()
    ends: tuple[Looks, ...] = ()

    def with_content(self, content_of: Callable[[TrialSpec], Content]) -> "Plan":
        """Return the plan with the content of its data, which its cells' ids and its search take in.

        Args:
            content_of: Returns the content of a cell's data.
        """

        def known(spec: TrialSpec) -> TrialSpec:
            return spec.model_copy(update={"content": content_of(spec)})

        search = self.search
        if search is not None:
            search = replace(search, specs={arm: known(spec) for arm, spec in search.specs.items()})
        return replace(self, cells=tuple(Cell.of(known(cell.spec)) for cell in self.cells), search=search)

    @property
    def is_trained(self) -> bool:
        """Whether any arm is trained; its cells then have worker groups."""
        return any(arm.system.is_trained for arm in self.arms)

    @property
    def systems(self) -> tuple[str, ...]:
        """Names of the arms' systems, the control's first."""
        return tuple(dict.fromkeys(arm.system.name for arm in self.arms))

    @property
    def bases(self) -> tuple[str, ...]:
        """The arms' bases as the study writes them, the control's first."""
        return tuple(dict.fromkeys(arm.base for arm in self.arms))

    @property
    def specs(self) -> dict[str, TrialSpec]:
        """Specification of each arm at the first seed, by arm."""
        return {cell.arm: cell.spec for cell in self.one_of_each}

    @property
    def one_of_each(self) -> tuple[Cell, ...]:
        """One cell per arm: the cells of the first seed."""
        return self.cells[: len(self.arms)]
