import json
import xml.etree.ElementTree as ET
from dataclasses import replace

import pytest
from matplotlib.collections import PolyCollection
from matplotlib.lines import Line2D

from sweeps.report.drift_plots import drift_plots
from sweeps.report.exports import to_json
from sweeps.report.figures import COLOURS, SERIES, Plot
from sweeps.report.page import to_html
from sweeps.report.table import Report
from sweeps.results.drift import ArmDrift, Drift

SVG = "{http://www.w3.org/2000/svg}"


def of_length(report: Report, frames: int, base: int | None, arms: int = 2) -> Report:
    """The report with one metric that falls over the frames, for so many arms beside the control."""
    key = report.metrics[0].key
    rows = (report.rows[0], *(replace(report.rows[1], id=f"arm {number}") for number in range(arms)))
    found = [
        ArmDrift(
            row.id,
            4,
            tuple(None if frame == 0 else 1 - frame * place / frames for frame in range(frames)),
            tuple(None if frame == 0 else 0.9 - frame * place / frames for frame in range(frames)),
            tuple(None if frame == 0 else 1.1 - frame * place / frames for frame in range(frames)),
        )
        for place, row in enumerate(rows)
    ]
    return replace(report, rows=rows, drift=(Drift(key, base, tuple(found)),))


def only(report: Report) -> Plot:
    (plot,) = drift_plots(report)
    return plot


def lines_of(plot: Plot) -> list[Line2D]:
    (axes,) = plot.figure.axes
    return [line for line in axes.lines if len(line.get_xdata()) > 2]


def words_of(plot: Plot) -> set[str]:
    return {"".join(element.itertext()) for element in ET.fromstring(plot.svg).iter(f"{SVG}text")}


def test_every_arm_is_a_line_with_a_band_over_the_frames_with_values(report: Report) -> None:
    changed = of_length(report, 8, None)
    plot = only(changed)
    (axes,) = plot.figure.axes
    (found,) = changed.drift
    assert len(lines_of(plot)) == len(found.arms)
    for line, arm in zip(lines_of(plot), found.arms, strict=True):
        assert list(line.get_xdata()) == list(range(1, 8))
        assert list(line.get_ydata()) == list(arm.mean[1:])
    assert len([artist for artist in axes.collections if isinstance(artist, PolyCollection)]) == 3
    assert {"control", "arm 0", "arm 1", "frame, from 0"} <= words_of(plot)
    assert plot.name == f"drift_{found.metric.replace('/', '_')}"
    assert "control 1 at frame 1, 1 at frame 7; arm 0 0.875 at frame 1, 0.125 at frame 7" in plot.alt


@pytest.mark.parametrize(("frames", "base", "is_marked"), [(40, 25, True), (25, 25, False), (40, None, False)])
def test_the_frames_of_the_base_are_marked_where_clips_are_longer(
    frames: int, base: int | None, is_marked: bool, report: Report
) -> None:
    plot = only(of_length(report, frames, base))
    marks = [line for line in plot.figure.axes[0].lines if list(line.get_xdata()) == [24.5, 24.5]]
    assert len(marks) == is_marked
    assert ("base: 25 frames" in words_of(plot)) == is_marked
    assert ("the base was trained on 25 frames" in plot.alt) == is_marked


def test_many_arms_are_the_control_and_those_that_differ_most(report: Report) -> None:
    changed = of_length(report, 8, None, arms=20)
    key = changed.metrics[0].key
    rows = tuple(
        replace(row, metrics={key: replace(row.metrics[key], difference=float(place) or None)})
        for place, row in enumerate(changed.rows)
    )
    plot = only(replace(changed, rows=rows))
    assert [line.get_label() for line in lines_of(plot)] == ["control", *(f"arm {number}" for number in range(14, 20))]
    assert f"{len(SERIES) + 1} of 21 arms, largest differences" in plot.title
    colours = [line.get_color() for line in lines_of(plot)]
    assert colours == [COLOURS["ink"], *SERIES.values()]


def test_the_page_and_the_json_have_the_drift(report: Report, drawn: list[Plot]) -> None:
    figures = [plot for plot in drawn if plot.group == "drift"]
    assert len(figures) == len(report.drift) > 0
    html = to_html(report, drawn, [])
    assert "Drift over the frames" in html
    assert all(plot.title in html for plot in figures)
    assert "Drift" not in to_html(report, [plot for plot in drawn if plot.group != "drift"], [])
    found = json.loads(to_json(report))["drift"]
    assert [drift["metric"] for drift in found] == [drift.metric for drift in report.drift]
    (arm, *_) = found[0]["arms"]
    assert set(arm) == {"arm", "seeds", "mean", "low", "high"}
    assert len(arm["mean"]) == len(arm["low"]) == 3
