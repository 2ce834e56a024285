"""The answer of a study, in sentences: what differs from the control, by how much, and how sure that is."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from typing import TypeVar

from sweeps.report import texts
from sweeps.report.subjects import continued, metric_words, subject
from sweeps.report.table import Report
from sweeps.results.comparison import ArmRow, Summary
from sweeps.results.contrasts import ContrastRow, Estimate
from sweeps.results.robustness import Robustness
from sweeps.results.search import SearchFindings
from sweeps.statistics.paired import ALPHA
from sweeps.statistics.verdicts import Verdict, is_above
from sweeps.study.designs import TREND
from sweeps.study.words import THESE_SETTINGS, counted, sampled_text, written
from trainables.metrics import MetricKey, is_context

MOST = 8
"""Largest number of sentences on findings of one sort; a study with more is read from its table."""
MOST_WINNERS = 3
"""Largest number of sentences on the winners of a search."""


def answers(report: Report) -> list[str]:
    """State what the study found: a sentence per arm, effect or winner that differs, and what else it could have shown.

    Empty for a study without results.
    """
    if not _has_results(report):
        return []
    differing = [row for row in report.rows[1:] if _differs(report, row)]
    equivalent = [row for row in report.rows[1:] if _found(report, row) and not _differs(report, row)]
    search = list(_of_search(report))
    return [
        *(["Preliminary, since cells are missing."] if _is_unfinished(report) else []),
        *_first(differing, partial(_of_arm, report), ("arm differs", "arms differ")),
        *_first(equivalent, partial(_of_arm, report), ("arm is equivalent", "arms are equivalent")),
        *_first(list(_of_divergence(report)), str, ("arm diverged", "arms diverged")),
        *_first(list(_of_effects(report)), str, ("effect is significant", "effects are significant")),
        *search,
        *_not_compared(report),
        *_rest(report, is_alone=not differing, has_search=bool(search)),
    ]


Item = TypeVar("Item")


def _first(
    items: Sequence[Item], word: Callable[[Item], str], more: tuple[str, str], most: int = MOST
) -> Iterator[str]:
    """Word the first items, and say how many more there are."""
    yield from map(word, items[:most])
    if (number := len(items) - most) > 0:
        yield f"{number} more {more[number > 1]}; see the table."


def _has_results(report: Report) -> bool:
    """Whether any cell has ended, or any trial of a search."""
    return any(row.missing < len(report.reached.of_arm[row.id]) for row in report.rows) or bool(
        report.search and report.search.trials
    )


def _is_unfinished(report: Report) -> bool:
    return any(row.missing or row.lost for row in report.rows)


# ---------------------------------------------------------------------------------------------------------------- arms


def _is_compared(summary: Summary) -> bool:
    """Whether a summary is compared with the control's: by values, or where all diverged by that."""
    return bool(summary.pairs) or summary.verdict is not None


def _is_different(summary: Summary) -> bool:
    return summary.verdict not in (None, Verdict.INCONCLUSIVE, Verdict.EQUIVALENT)


def _differs(report: Report, row: ArmRow) -> bool:
    return any(_is_different(row.metrics[metric.key]) for metric in report.metrics)


def _found(report: Report, row: ArmRow) -> list[MetricKey]:
    """Return the metrics in which an arm has a conclusive verdict."""
    return [m for m in report.metrics if row.metrics[m.key].verdict not in (None, Verdict.INCONCLUSIVE)]


def _of_arm(report: Report, row: ArmRow) -> str:
    arms = {arm.id: arm for arm in report.plan.arms}
    words = subject(arms[row.id], report.plan.arms[0])
    return f"{words} {_findings(report, row)}{_doubt(report, row)}."


def _findings(report: Report, row: ArmRow) -> str:
    return _joined([_finding(report, row.metrics[metric.key], metric) for metric in _found(report, row)])


def _finding(report: Report, summary: Summary, metric: MetricKey) -> str:
    """Word one difference, such as ``lowers temporal consistency by 0.037 [0.020, 0.055] (p = 0.01, 24 clips)``."""
    assert summary.verdict is not None, "a finding has a verdict"
    name, number = metric_words(metric, report.metrics), counted(summary.pairs, summary.unit)
    if summary.verdict is Verdict.EQUIVALENT:
        return f"leaves {name} as it is, within {summary.margin:g} ({number})"
    if summary.difference is None or is_above(summary.verdict, metric.direction) != (summary.difference > 0):
        return f"makes {name} {summary.verdict} with the seeds that diverged ranked last ({_p(summary.p_corrected)})"
    verdict = () if is_context(metric) else (summary.verdict.value,)
    how = ", ".join((*verdict, _p(summary.p_corrected), number))
    return f"{_by(name, summary.difference, summary.low, summary.high)} ({how})"


def _p(p: float | None) -> str:
    words = texts.p_text(p)
    return f"p {words}" if words.startswith("<") else f"p = {words}"


def _by(name: str, difference: float | None, low: float | None, high: float | None) -> str:
    """Word a change as one to the side of the difference, with its interval on that side."""
    assert difference is not None, "a finding has a difference"
    decimals = texts.decimals_of(low, high, difference)
    side = 1 if difference > 0 else -1
    bounds = () if low is None or high is None else tuple(sorted((side * low, side * high)))
    interval = f" [{bounds[0]:z.{decimals}f}, {bounds[1]:z.{decimals}f}]" if bounds else ""
    return f"{'raises' if side > 0 else 'lowers'} {name} by {abs(difference):.{decimals}f}{interval}"


def _doubt(report: Report, row: ArmRow) -> str:
    """Say which of an arm's findings depend on a single unit or on the choice of test, or on a symmetry that lacks."""
    differing = [metric for metric in report.metrics if _is_different(row.metrics[metric.key])]
    examined = {item.metric: item for item in report.robustness if item.arm == row.id}
    found = [(metric, examined[metric.key]) for metric in differing if metric.key in examined]
    fragile = _listed(report, [metric for metric, item in found if item.is_fragile])
    asymmetric = _listed(report, [metric for metric, item in found if item.is_asymmetric])
    doubts = [f"not robust in {fragile}"] if fragile else []
    doubts += [f"differences in {asymmetric} are not symmetric"] if asymmetric else []
    return f" – {'; '.join(doubts)}; see Robustness" if doubts else ""


def _listed(report: Report, metrics: Sequence[MetricKey]) -> str:
    return _joined([metric_words(metric, report.metrics) for metric in metrics])


def _joined(items: Sequence[str]) -> str:
    """List items in a sentence: ``a, b and c``."""
    return " and ".join(filter(None, (", ".join(items[:-1]), *items[-1:])))


def _of_divergence(report: Report) -> Iterator[str]:
    """Compare how often cells diverged, where an arm diverged at all or the control did significantly more often."""
    for item in report.divergences:
        if item.diverged or item.p_corrected <= ALPHA:
            yield (
                f"{item.arm} diverged at {item.diverged} of {counted(item.seeds, 'seed')}, the control at "
                f"{item.of_control} ({_p(item.p_corrected)})."
            )


def _not_compared(report: Report) -> Iterator[str]:
    """Name the arms that have no value to compare, with the reasons, by the metrics in which they have none."""
    control, *others = report.rows
    is_compared = any(_is_compared(summary) for row in others for summary in row.metrics.values())
    if others and not is_compared and not any(summary.n for summary in control.metrics.values()):
        yield f"Nothing is compared: the control has no value ({texts.incomplete(control) or 'no metric is scored'})."
        return
    absent: dict[tuple[str, ...], list[ArmRow]] = {}
    for row in others:
        if keys := tuple(metric.key for metric in report.metrics if not _is_compared(row.metrics[metric.key])):
            absent.setdefault(keys, []).append(row)
    for keys, rows in absent.items():
        names = ", ".join(texts.marked(row) for row in rows[:MOST])
        more = f" and {counted(len(rows) - MOST, 'more arm')}" if len(rows) > MOST else ""
        within = _listed(report, [metric for metric in report.metrics if metric.key in keys])
        where = "" if len(keys) == len(report.metrics) else f" in {within}"
        yield f"Not compared with the control{where}, since a value is missing: {names}{more}."


# ------------------------------------------------------------------------------------------------------------- effects


def _of_effects(report: Report) -> Iterator[str]:
    """Word every effect of the design, trend and step of an ablation path that is significant."""
    for row in report.contrasts:
        if found := _significant(report, row):
            yield f"{_of_effect(report, row)} {found}."
    for path in report.search.paths if report.search else ():
        for row in path.steps:
            if found := _significant(report, row, of_path=True):
                yield f"On the ablation path of {path.arm}, {row.name} {found}."


def _significant(report: Report, row: ContrastRow, *, of_path: bool = False) -> str:
    """Word what an effect changes; empty where nothing is significant."""
    inference = report.search.inference if of_path and report.search else report.inference
    found = [
        _effect(report, metric, estimate, inference.unit(metric.key))
        for metric in report.metrics
        if (estimate := row.metrics.get(metric.key)) is not None and estimate.p_corrected <= ALPHA
    ]
    return _joined(found)


def _effect(report: Report, metric: MetricKey, estimate: Estimate, unit: str) -> str:
    effect, name = estimate.effect, metric_words(metric, report.metrics)
    how = f"{_p(estimate.p_corrected)}, {counted(effect.n, unit)}"
    return f"{_by(name, effect.difference, effect.low, effect.high)} ({how})"


def _of_effect(report: Report, row: ContrastRow) -> str:
    """Word what an effect is the effect of, as the beginning of a sentence."""
    match row.kind:
        case "trend":
            least, most = _ends(report, row.name)
            return f"Raising {row.name} from {least} to {most}"
        case "effect":
            arm = next((arm for arm in report.plan.arms if arm.id == row.name), None)
            words = subject(arm, report.plan.arms[0]) if arm else f'"{row.name}"'
            return f"Averaged over the other changes, {continued(words)}"
        case "interaction":
            return f"The interaction {row.name}"
        case "added to nothing":
            return f"With all ablated parts removed, adding {row.name}"
        case _:
            return f"Averaged over the orders, adding {row.name}"


def _ends(report: Report, path: str) -> tuple[str, str]:
    """Return the smallest and the largest value of a trend."""
    contrast = next(item for item in report.plan.contrasts if (item.name, item.kind) == (path, TREND))
    by_weight = sorted(contrast.weights, key=lambda arm: contrast.weights[arm])
    values = [_value(report, arm, path) for arm in (by_weight[0], by_weight[-1])]
    return values[0], values[1]


def _value(report: Report, arm: str, path: str) -> str:
    of_arm = next(item for item in report.plan.arms if item.id == arm)
    part, _, name = path.rpartition(".")
    tree = of_arm.system.model_dump(mode="json")
    for key in filter(None, part.split(".")):
        tree = tree[key]
    return written(tree[name])


# -------------------------------------------------------------------------------------------------------------- search


def _of_search(report: Report) -> Iterator[str]:
    """Word what the search found: tuned arms, winners at fresh seeds, or else the best trials."""
    search = report.search
    if search is None:
        return
    yield from _first(list(_of_tuned(report, search)), str, ("tuned arm differs", "tuned arms differ"))
    rows = [row for row in search.confirmed[1:] if _differs(report, row)]
    yield from _first(rows, partial(_of_winner, report), ("winner differs", "winners differ"), MOST_WINNERS)
    if search.confirmed and not rows:
        yield "No winner of the search is shown to differ from the untuned control at fresh seeds."
    if not search.confirmed and search.pareto:
        yield from _best_trials(report, search)


def _of_tuned(report: Report, search: SearchFindings) -> Iterator[str]:
    arms = {arm.id: arm for arm in report.plan.arms}
    for row in search.tuned[1:]:
        words = continued(subject(arms[row.id], report.plan.arms[0]))
        if search.repeats == 1:
            if found := _between_settings(report, search, row):
                yield f"Each arm at the best settings of one search, {words} {found}: this compares {THESE_SETTINGS}."
        elif found := _findings(report, row):
            yield f"Each arm at its own best settings, {words} {found}."


def _of_winner(report: Report, row: ArmRow) -> str:
    settings = f" ({row.changes})" if row.changes else ""
    return f"At fresh seeds, compared with the untuned control, {row.id}{settings} {_findings(report, row)}."


def _between_settings(report: Report, search: SearchFindings, row: ArmRow) -> str:
    """Word the differences of two settings in the objectives, with their intervals; a single search has no verdict."""
    objectives = {objective.key for objective in search.objectives}
    return _joined(
        [
            f"{_by(metric_words(metric, report.metrics), summary.difference, summary.low, summary.high)} "
            f"({counted(summary.pairs, summary.unit)})"
            for metric in report.metrics
            if metric.key in objectives and (summary := row.metrics[metric.key]).difference is not None
        ]
    )


def _best_trials(report: Report, search: SearchFindings) -> Iterator[str]:
    """Word the best trials of a search for one objective, or the size of the Pareto front; none was rerun."""
    if len(search.objectives) > 1:
        yield f"{texts.search_heading(search)}; none was rerun at fresh seeds."
        return
    metric = next(metric for metric in report.metrics if metric.key == search.objectives[0].key)
    name = metric_words(metric, report.metrics)
    for trial in search.pareto[:MOST_WINNERS]:
        value, settings = trial.values[metric.key], sampled_text(trial.sampled)
        optimistic = "it was selected as the best and not rerun at fresh seeds, so that its value is optimistic"
        yield f"The best trial of {trial.arm} has {name} {value:.4g} ({settings}); {optimistic}."


# ---------------------------------------------------------------------------------------------------------------- rest


def _rest(report: Report, *, is_alone: bool, has_search: bool) -> Iterator[str]:
    """Say that nothing else differs, and which differences the study could have shown."""
    compared = [row for row in report.rows[1:] if any(map(_is_compared, row.metrics.values()))]
    if not compared:
        return
    are_all = all(_is_compared(summary) for row in report.rows[1:] for summary in row.metrics.values())
    if is_alone and not any(item.p_corrected <= ALPHA for item in report.divergences):
        untuned = " at the control's settings" if has_search else ""
        rest = f"No {'' if are_all else 'compared '}arm is shown to differ from the control{untuned}"
    else:
        rest = f"{'Nothing else in this study' if are_all else 'No other compared arm'} is shown to differ"
    shown = [
        f"{known:.2g} in {metric_words(metric, report.metrics)}"
        for metric in report.metrics
        if (known := _smallest(report.robustness, metric)) is not None
    ]
    could = f"; it could show differences of {', '.join(shown)} or more (80 % power)" if shown else ""
    yield f"{rest}{could}."


def _smallest(examined: Iterable[Robustness], metric: MetricKey) -> float | None:
    """Return the largest of the differences that the inconclusive arms could have shown in a metric."""
    known = [item.smallest_difference for item in examined if item.metric == metric.key and item.p_corrected > ALPHA]
    return max(filter(None, known), default=None)
