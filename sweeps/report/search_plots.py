"""Figures of a search: objectives of its trials, and importances of the searched values."""

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from sweeps.plan.search import Objective
from sweeps.report import texts
from sweeps.report.figures import COLOURS, MOST_ROWS, ROW, SERIES, Plot, canvas, finished, short
from sweeps.results.search import SearchFindings, TrialRow
from trainables.metrics import MetricKey

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def search_plots(search: SearchFindings, metrics: Sequence[MetricKey]) -> Iterator[Plot]:
    """Draw the Pareto front of two objectives or the best value so far of one, and the importances.

    Three objectives or more have no figure: their front is in the table. Empty figures are left out.
    """
    heads = {metric.key: texts.head(metric) for metric in metrics}
    if len(search.objectives) == 2:
        yield from front(search, heads)
    elif len(search.objectives) == 1:
        yield from best_so_far(search, heads)
    yield from importances(search)


def front(search: SearchFindings, heads: Mapping[str, str]) -> Iterator[Plot]:
    """Plot two objectives against each other: finished trials coloured by arm, a line for each Pareto front.

    Args:
        search: With two objectives.
        heads: Metric key -> name with the arrow to its better side.
    """
    first, second = (objective.key for objective in search.objectives)
    trials = _whole(search)
    if not trials:
        return
    colours = _colours(trial.arm for trial in trials)
    with canvas(3.6) as (figure, axes):
        for arm, colour in colours.items():
            of_arm = [trial for trial in trials if trial.arm == arm]
            xs, ys = ([trial.values[key] for trial in of_arm] for key in (first, second))
            axes.plot(xs, ys, "o", color=colour, markersize=4, alpha=0.55, markeredgewidth=0, label=short(arm))
        best = sorted(search.pareto, key=lambda trial: (trial.repeat, trial.values[first]))
        for repeat in range(search.repeats):  # each has a front of its own
            of_repeat = [trial for trial in best if trial.repeat == repeat]
            xs, ys = ([trial.values[key] for trial in of_repeat] for key in (first, second))
            axes.plot(xs, ys, color=COLOURS["ink"], linewidth=0.9, zorder=3)
        for trial in best:
            point = (trial.values[first], trial.values[second])
            axes.plot(*point, "o", color=colours[trial.arm], markersize=6.5, markeredgecolor=COLOURS["ink"], zorder=4)
        axes.set_xlabel(heads.get(first, first))
        axes.set_ylabel(heads.get(second, second))
        _dress(axes, colours)
    named = "; ".join(
        f"{trial.arm} trial {texts.trial_name(search, trial)}: {_values(search, trial)}" for trial in best[:8]
    )
    fronts = "Pareto front" if search.repeats == 1 else f"Pareto fronts of {search.repeats} searches"
    alt = f"{second} over {first} of {len(trials)} trials. {fronts}, {len(best)} trials: {named}."
    yield finished("search", "pareto_front", texts.search_heading(search), alt, figure)


def best_so_far(search: SearchFindings, heads: Mapping[str, str]) -> Iterator[Plot]:
    """Plot the best value so far over the trials of each search of each arm, with the single trials.

    Args:
        search: With one objective.
        heads: Metric key -> name with the arrow to its better side.
    """
    (objective,) = search.objectives
    trials = _whole(search)
    if not trials:
        return
    colours = _colours(trial.arm for trial in trials)
    ends = []
    with canvas(2.8) as (figure, axes):
        for arm, colour in colours.items():
            of_arm = sorted((trial for trial in trials if trial.arm == arm), key=lambda trial: trial.number)
            last = []
            for place, repeat in enumerate(dict.fromkeys(trial.repeat for trial in of_arm)):
                of_repeat = [trial for trial in of_arm if trial.repeat == repeat]
                numbers = [trial.number + 1 for trial in of_repeat]
                values = [trial.values[objective.key] for trial in of_repeat]
                best = _running_best(values, objective)
                axes.plot(numbers, values, "o", color=colour, markersize=3, alpha=0.35, markeredgewidth=0)
                axes.step(numbers, best, where="post", color=colour, label=short(arm) if place == 0 else None)
                last.append(f"{best[-1]:.5g}")
            ends.append(f"{arm} {', '.join(last)}")
        axes.set_xlabel("trial number within the arm")
        axes.locator_params(axis="x", integer=True)
        _dress(axes, colours)
    title = f"{heads.get(objective.key, objective.key)}: best so far"
    alt = f"Best {objective.key} so far over the trials of each arm; final values {'; '.join(ends[:8])}."
    yield finished("search", "best_so_far", title, alt, figure)


def importances(search: SearchFindings) -> Iterator[Plot]:
    """Plot the importance of each searched value for the first objective, by arm, in percent."""
    lines: list[tuple[str, float | None]] = []  # rows without a share are names of arms
    for arm, shares in search.importances.items():
        lines += [(arm, None), *sorted(shares.items(), key=lambda item: -item[1])]
    lines = lines[:MOST_ROWS]
    if not lines:
        return
    with canvas(0.5 + ROW * len(lines)) as (figure, axes):
        for row, (label, share) in enumerate(lines):
            if share is None:
                axes.annotate(short(label), (0, row), va="center", fontweight="bold")
            else:
                axes.barh(row, 100 * share, height=0.5, color=COLOURS["plain"])
                end = (100 * share, row)
                axes.annotate(f"{100 * share:.0f}", end, (4, 0), textcoords="offset points", va="center", fontsize=8)
        labels = [short(label) if share is not None else "" for label, share in lines]
        axes.set_yticks(range(len(lines)), labels, color=COLOURS["ink"])
        axes.set_ylim(len(lines) - 0.4, -0.6)
        axes.set_xlim(0, 108)
        axes.spines["left"].set_visible(False)
        axes.set_xlabel("importance, %")
    named = "; ".join(label if share is None else f"{label} {share:.0%}" for label, share in lines)
    yield finished(
        "search",
        "importances",
        "Importance of searched values (PED-ANOVA)",
        f"Importance of each value: {named}.",
        figure,
    )


def _whole(search: SearchFindings) -> list[TrialRow]:
    keys = {objective.key for objective in search.objectives}
    return [trial for trial in search.trials if trial.status == "done" and keys <= trial.values.keys()]


def _running_best(values: Sequence[float], objective: Objective) -> list[float]:
    better = max if objective.direction == "max" else min
    best: list[float] = []
    for value in values:
        best.append(better(best[-1], value) if best else value)
    return best


def _colours(arms: Iterator[str]) -> dict[str, str]:
    """Assign one colour per arm, or the same to all where there are too many arms."""
    names = list(dict.fromkeys(arms))
    if len(names) > len(SERIES):
        return dict.fromkeys(names, COLOURS["plain"])
    return dict(zip(names, SERIES.values(), strict=False))


def _dress(axes: "Axes", colours: Mapping[str, str]) -> None:
    axes.grid(color=COLOURS["rule"], linewidth=0.7)
    if 1 < len(colours) <= len(SERIES):
        axes.legend(loc="upper left", bbox_to_anchor=(-0.02, -0.16), ncols=2, handlelength=1.2, borderaxespad=0)


def _values(search: SearchFindings, trial: TrialRow) -> str:
    return ", ".join(texts.objective_values(search, trial))
