"""The overview of a study with blocks: what differs, where the reports are, and drift across the blocks."""

import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from sweeps.plan import Plan, load_blocks
from sweeps.report import main, save_blocks
from sweeps.report.answers import answers
from sweeps.report.blocks import save_overview, study_name
from sweeps.report.drift_plots import block_drift_plots
from sweeps.report.figures import SERIES
from sweeps.report.table import Report, build
from sweeps.results.drift import ArmDrift, Drift
from sweeps.results.ledger import Ledger, study_folder
from sweeps.results.record import Record

Write = Callable[[str | bytes], Path]

STUDY = """\
name: lengths
question: How far?
system: zs2
base: shapes
metrics: [temporal_flickering]
seeds: 3
protocol: {clips: 2}
ablations: [{part: noise, action: REMOVE}]
blocks:
  1x: {protocol: {frames: 4}}
  2x: {protocol: {frames: 8}, seeds: 4}
"""


def with_drift(report: Report, frames: int) -> Report:
    """The report with one metric that falls over the frames."""
    found = [
        ArmDrift(row.id, 3, *([tuple(float(place - frame) for frame in range(frames))] * 3))
        for place, row in enumerate(report.rows)
    ]
    return replace(report, drift=(Drift(report.metrics[0].key, 4, tuple(found)),))


@pytest.fixture
def plans(write: Write) -> dict[str, Plan]:
    return load_blocks(write(STUDY))


@pytest.fixture
def reports(plans: Mapping[str, Plan], simulated: Callable[..., dict[str, Record]]) -> dict[str, Report]:
    lengths = {"1x": 4, "2x": 8}
    return {block: with_drift(build(plan, simulated(plan)), lengths[block]) for block, plan in plans.items()}


def test_a_panel_per_arm_has_a_line_per_block(reports: dict[str, Report]) -> None:
    (plot,) = block_drift_plots(reports)
    panels = plot.figure.axes
    assert [axes.get_title() for axes in panels] == ["control", "noise=removed"]
    for place, axes in enumerate(panels):
        lines = {line.get_label(): line for line in axes.lines if line.get_label() in reports}
        assert list(lines) == ["1x", "2x"]
        assert [list(line.get_ydata()) for line in lines.values()] == [
            [float(place - frame) for frame in range(frames)] for frames in (4, 8)
        ]
        assert [line.get_color() for line in lines.values()] == list(SERIES.values())[:2]
        assert any(list(line.get_xdata()) == [3.5, 3.5] for line in axes.lines), "the base's length is marked"
    assert "block 2x: control 0 at frame 0, −7 at frame 7" in plot.alt


def test_an_arm_of_one_block_has_a_line_of_that_block_alone(reports: dict[str, Report]) -> None:
    (drift,) = reports["1x"].drift
    fewer = replace(reports["1x"], drift=(replace(drift, arms=drift.arms[:1]),))
    (plot,) = block_drift_plots(reports | {"1x": fewer})
    labels = [{line.get_label() for line in axes.lines} & set(reports) for axes in plot.figure.axes]
    assert labels == [{"1x", "2x"}, {"2x"}]


def test_the_overview_says_what_differs_and_where_the_reports_are(reports: dict[str, Report], tmp_path: Path) -> None:
    page = save_overview(reports, {"1x": "a/report.html", "2x": "b/report.html"}, tmp_path / "deep")
    html = page.read_text(encoding="utf-8")
    assert page == tmp_path / "deep" / "report.html"
    assert "<h1>lengths</h1>" in html
    assert "protocol.frames: 4" in html
    assert "protocol.frames: 8" in html
    assert "protocol.clips" not in html, "equal in both"
    assert re.findall('href="([^#"]*report.html)"', html) == ["a/report.html", "b/report.html"]
    for block, report in reports.items():
        section = html.partition(f"<h2>{block}</h2>")[2].partition("<h2")[0]
        found = answers(report)
        assert len(found) > 0
        assert all(f"<p>{sentence}</p>" in section for sentence in found)
    assert "6 of 6" in html
    assert "8 of 8" in html
    assert {path.name for path in page.parent.iterdir()} == {
        "report.html",
        "figures.pdf",
        "drift_temporal_flickering_vbench_formula.svg",
    }


def test_links_from_the_storage_lead_to_the_reports(plans: dict[str, Plan], tmp_path: Path) -> None:
    for plan in plans.values():
        folder = study_folder(tmp_path, plan.study.name) / "report"
        folder.mkdir(parents=True)
        (folder / "report.html").write_text(plan.study.name)
    page = save_blocks(plans, tmp_path)
    assert study_name(plans) == "lengths"
    assert page == tmp_path / "lengths" / "report" / "report.html"
    links = re.findall('href="([^"]*report.html)"', page.read_text(encoding="utf-8"))
    assert [(page.parent / link).resolve().read_text() for link in links] == ["lengths.1x", "lengths.2x"]


def test_reports_of_blocks_are_printed_in_turn_and_saved_side_by_side(
    plans: dict[str, Plan],
    simulated: Callable[..., dict[str, Record]],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    records = {f"{tmp_path}/{plan.study.name}": simulated(plan) for plan in plans.values()}
    monkeypatch.setattr(Ledger, "records", lambda ledger: records[str(ledger.folder)])
    assert main(plans, tmp_path, "terminal", tmp_path / "saved") == 0
    printed = capsys.readouterr().out
    assert printed.index("lengths.1x: How far?") < printed.index("lengths.2x: How far?")
    for name in ("report.html", "1x/report.html", "2x/table.csv"):
        assert (tmp_path / "saved" / name).is_file()
