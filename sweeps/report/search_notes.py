"""Sentences on the trials and winners of a search."""

from collections.abc import Iterator, Sequence

from sweeps.plan import Plan
from sweeps.plan.search import SearchPlan
from sweeps.report.captions import mixed, significance, warnings
from sweeps.results.arm_values import newest_code
from sweeps.results.comparison import ArmRow
from sweeps.results.pairing import Inference
from sweeps.results.search import SearchFindings, TrialRow, barren_searches
from sweeps.statistics.combined import smallest_difference_of_searches
from sweeps.study.words import THESE_SETTINGS, counted


def search_notes(plan: Plan, findings: SearchFindings) -> Iterator[str]:
    """Describe a search: its trials, its winners, and results that may not be comparable."""
    assert plan.search is not None, "findings of a search"
    noun = "trials and confirmations"
    yield from _of_trials(plan.search, findings.trials)
    yield from _of_winners(plan, plan.search, findings.confirmed, findings.inference)
    if findings.tuned:
        yield _of_tuned(plan.search, findings.inference)
        yield from _without_verdict(plan.search, findings)
    if findings.paths:
        yield (
            "Ablation paths: from the winner of an arm's first search, the most important value first. Δ is after "
            "minus before a step, paired at the fresh seeds and corrected over the steps of the arm. It depends on the "
            "order, and is about these settings."
        )
    yield from warnings(findings.records, newest_code(plan, findings.records), noun)
    yield from mixed(findings.records, noun)


def _of_trials(search: SearchPlan, trials: Sequence[TrialRow]) -> Iterator[str]:
    seeds = f"seed {search.seed}" if search.repeats == 1 else f"the seed of their search ({_listed(search.seeds)})"
    yield f"All trials used {seeds}; the value of the best trial is optimistic, since it was selected as the best."
    for space in search.arms:
        requested = search.num_trials(space) * search.repeats
        states = [row.status for row in trials if row.arm == space.arm.id]
        lost = [f"{count} {state}" for state in ("failed", "pruned") if (count := states.count(state))]
        if lost or len(states) < requested:
            yield f"{space.arm.id}: {', '.join([f'{len(states)} of {requested} trials', *lost])}."


def _of_winners(plan: Plan, search: SearchPlan, confirmed: Sequence[ArmRow], inference: Inference) -> Iterator[str]:
    if confirmed:
        seeds = counted(len(search.confirm_seeds), "fresh seed")
        yield f"Winners were rerun at {seeds} and compared with the untuned control at the same seeds."
        yield from significance(confirmed, plan.metrics, inference)
    elif search.confirm is not None:
        yield "No winner was rerun at fresh seeds yet, so none is shown to be better than the control."
    else:
        yield (
            "Winners are not rerun at fresh seeds (key search.confirm), so none is shown to be better than the control."
        )


def _of_tuned(search: SearchPlan, inference: Inference) -> str:
    """Describe what the comparison of tuned arms is about: settings, or arms over independent searches."""
    if search.repeats == 1:
        return (
            f"All arms tuned: each arm was searched once, so Δ compares {THESE_SETTINGS} and its interval is over the "
            "fresh seeds alone. Another search may choose others; there is no verdict on the arms (key search.repeats)."
        )
    over = "the arms of each metric" if inference.over == "arms" else "all arms and metrics"
    needed = smallest_difference_of_searches(search.repeats)
    return (
        f"All arms tuned: each arm was searched {search.repeats} times independently, and Δ is the mean over its "
        "winners. Interval and p include the spread between the searches of both arms and between fresh seeds (squares "
        f"of the t half-widths added); p is corrected after Holm over {over}. With {search.repeats} searches a "
        f"difference shows from about {needed:.1f} standard deviations between searches of an arm."
    )


def _without_verdict(search: SearchPlan, findings: SearchFindings) -> Iterator[str]:
    """Say which tuned arms have no verdict, since what is left of their searches is what went well."""
    if search.repeats == 1:
        return
    barren = barren_searches(findings.trials, findings.objectives)
    for row in findings.tuned:
        reasons = [
            *([f"its winners diverged in {counted(row.diverged, 'cell')}"] if row.diverged else []),
            *([f"{barren[row.id]} of its {search.repeats} searches found no winner"] if barren[row.id] else []),
        ]
        if reasons:
            whom = "it has" if row.role == "arm" else "tuned arms have"
            yield f"{row.id}: {' and '.join(reasons)}, so {whom} no verdict; means and differences are of the others."


def _listed(seeds: Sequence[int]) -> str:
    """List up to 4 seeds, or the first 3 and the number of the others."""
    shown = seeds if len(seeds) <= 4 else [*seeds[:3], f"and {len(seeds) - 3} others"]
    return ", ".join(map(str, shown))
