"""Sentences on the trials and winners of a search."""

from collections.abc import Iterator, Sequence

from sweeps.plan import Plan
from sweeps.plan.search import SearchPlan
from sweeps.report.captions import mixed, significance, warnings
from sweeps.results.arm_values import newest_code
from sweeps.results.comparison import ArmRow
from sweeps.results.pairing import Inference
from sweeps.results.search import SearchFindings, TrialRow
from sweeps.study.words import counted


def search_notes(plan: Plan, findings: SearchFindings) -> Iterator[str]:
    """Describe a search: its trials, its winners, and results that may not be comparable."""
    assert plan.search is not None, "findings of a search"
    noun = "trials and confirmations"
    yield from _of_trials(plan.search, findings.trials)
    yield from _of_winners(plan, plan.search, findings.confirmed, findings.inference)
    yield from warnings(findings.records, newest_code(plan, findings.records), noun)
    yield from mixed(findings.records, noun)


def _of_trials(search: SearchPlan, trials: Sequence[TrialRow]) -> Iterator[str]:
    yield (
        f"All trials used seed {search.seed}; the value of the best trial is optimistic, since it was selected as the "
        "best."
    )
    for space in search.arms:
        requested, states = search.num_trials(space), [row.status for row in trials if row.arm == space.arm.id]
        lost = [f"{count} {state}" for state in ("failed", "pruned") if (count := states.count(state))]
        if lost or len(states) < requested:
            yield f"{space.arm.id}: {', '.join([f'{len(states)} of {requested} trials', *lost])}."


def _of_winners(plan: Plan, search: SearchPlan, confirmed: Sequence[ArmRow], inference: Inference) -> Iterator[str]:
    if confirmed:
        seeds = counted(len(search.confirm_seeds), "fresh seed")
        yield f"Winners were repeated at {seeds} and compared with the untuned control at the same seeds."
        yield from significance(confirmed, plan.metrics, inference)
    elif search.confirm is not None:
        yield "No winner was repeated at fresh seeds yet, so none is shown to be better than the control."
    else:
        yield (
            "Winners are not repeated at fresh seeds (key search.confirm), so none is shown to be better than the "
            "control."
        )
