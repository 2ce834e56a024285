from collections.abc import Iterable
from dataclasses import replace

from sweeps.plan.search import Objective
from sweeps.report import texts
from sweeps.report.figures import COLOURS, SERIES, Plot
from sweeps.report.plots import plots
from sweeps.report.search_plots import best_so_far, front, importances, search_plots
from sweeps.report.table import Report
from sweeps.results.search import SearchFindings


def search_of(report: Report) -> SearchFindings:
    assert report.search is not None
    return report.search


def heads(report: Report) -> dict[str, str]:
    return {metric.key: texts.head(metric) for metric in report.metrics}


def names(plots: Iterable[Plot], group: str) -> list[str]:
    return [plot.name for plot in plots if plot.group == group]


def test_every_search_has_its_figures(report: Report, drawn: list[Plot], one_objective: Report) -> None:
    assert names(drawn, "search")[0] == "pareto_front"
    assert names(drawn, "winners") == [f"winners_{metric.key.replace('/', '_')}" for metric in report.metrics]
    small = list(plots(one_objective))
    assert names(small, "search")[0] == "best_so_far"
    assert names(small, "winners") == []


def test_the_front_joins_the_trials_that_no_other_beats(report: Report) -> None:
    search = search_of(report)
    (plot,) = front(search, heads(report))
    (axes,) = plot.figure.axes
    first, second = (objective.key for objective in search.objectives)
    joined = next(line for line in axes.lines if line.get_color() == COLOURS["ink"] and line.get_linestyle() == "-")
    points = sorted((trial.values[first], trial.values[second]) for trial in search.pareto)
    assert list(zip(*joined.get_data(), strict=True)) == points
    assert (axes.get_xlabel(), axes.get_ylabel()) == (f"{first} ↑", f"{second} ↓")
    drawn = sum(len(line.get_xdata()) for line in axes.lines if line.get_marker() == "o") - len(points)
    assert drawn == sum(trial.status == "done" for trial in search.trials)
    arms = {trial.arm for trial in search.trials}
    assert {text.get_text() for text in axes.get_legend().get_texts()} == arms


def test_the_best_so_far_never_gets_worse(one_objective: Report) -> None:
    search = search_of(one_objective)
    (objective,) = search.objectives
    for direction, better in (("max", max), ("min", min)):
        turned = replace(search, objectives=(Objective(objective.key, direction),))
        (plot,) = best_so_far(turned, heads(one_objective))
        (axes,) = plot.figure.axes
        steps = [line for line in axes.lines if line.get_drawstyle() == "steps-post"]
        assert len(steps) == 2
        for line, arm in zip(steps, ("control", "noise=removed"), strict=True):
            values = [t.values[objective.key] for t in search.trials if t.arm == arm and t.status == "done"]
            assert list(line.get_ydata()) == [better(values[: n + 1]) for n in range(len(values))]
            assert 4 not in line.get_xdata(), "the fourth trial failed"


def test_importances_are_bars_under_their_arm(one_objective: Report) -> None:
    shares = {"control": {"attention.mu": 0.25, "noise.threshold": 0.75}, "b": {"attention.mu": 1.0}}
    (plot,) = importances(replace(search_of(one_objective), importances=shares))
    (axes,) = plot.figure.axes
    assert [round(bar.get_width()) for bar in axes.patches] == [75, 25, 100]
    labels = [label.get_text() for label in axes.get_yticklabels()]
    assert labels == ["", "noise.threshold", "attention.mu", "", "attention.mu"]
    assert [text.get_text() for text in axes.texts if text.get_fontweight() == "bold"] == ["control", "b"]
    assert list(importances(replace(search_of(one_objective), importances={}))) == []


def test_many_arms_share_one_colour(report: Report) -> None:
    search = search_of(report)
    trials = tuple(replace(trial, arm=f"arm {place}") for place, trial in enumerate(search.trials))
    (plot,) = front(replace(search, trials=trials, pareto=()), heads(report))
    (axes,) = plot.figure.axes
    assert axes.get_legend() is None
    assert {line.get_color() for line in axes.lines if line.get_marker() == "o"} == {COLOURS["plain"]}
    assert len(trials) > len(SERIES)


def test_three_objectives_and_unfinished_searches_have_no_front(report: Report) -> None:
    search = search_of(report)
    three = replace(search, objectives=(*search.objectives, Objective(report.metrics[1].key, "max")), importances={})
    assert list(search_plots(three, report.metrics)) == []
    failed = replace(search, trials=tuple(replace(trial, status="failed") for trial in search.trials), importances={})
    assert list(search_plots(failed, report.metrics)) == []


def test_alternative_texts_say_what_is_seen(report: Report) -> None:
    search = search_of(report)
    found: list[Plot] = list(search_plots(search, report.metrics))
    best = search.pareto[0]
    assert f"{best.arm} trial {best.number}" in found[0].alt
    assert all(plot.alt.endswith(".") for plot in found)
