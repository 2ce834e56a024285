"""Metrics by group of clips: the same paired differences, over fewer clips; too few have no value and are told."""

import csv
import io
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sweeps.plan import Plan, load
from sweeps.report import by_group as tables
from sweeps.report import writers
from sweeps.report.exports import to_groups_csv, to_json
from sweeps.report.latex import to_latex
from sweeps.report.markdown import to_markdown
from sweeps.report.page import to_html
from sweeps.report.table import Report, build
from sweeps.report.terminal import print_terminal
from sweeps.results.arm_values import ArmValues
from sweeps.results.by_group import Refusal, by_group
from sweeps.results.ledger import Ledger, state
from sweeps.results.pairing import Inference
from sweeps.results.record import Record
from sweeps.statistics.paired import mean_interval, paired_difference
from tests.factories import make_record, make_result
from trainables.trial_spec import GroupScore, Score

STUDY = """\
name: groups
system: zs2
base: shapes
metrics: [clip_score, fvd]
seeds: 6
protocol: {clips: 4}
ablations: [{part: noise, action: REMOVE}]
by: {column: category, least: 5, subsets: {two: {column: motions, at_least: 2}}}
"""
CLIP, FVD = "clip_score/shapes_clip", "fd/shapes_r3d"
Groups = dict[str, dict[str, tuple[float | None, int]]]


@pytest.fixture
def plan(write: Callable[[str], Path]) -> Plan:
    return load(write(STUDY))


def records(plan: Plan, groups: Callable[[str, int], Mapping[str, Groups]]) -> dict[str, Record]:
    """Done cells whose groups are those of their arm and seed."""
    by = plan.study.by
    assert by is not None
    whole = {metric.key: 1.0 for metric in plan.metrics}
    return {
        cell.id: make_record(cell, whole, by=by.identity, groups=groups(cell.arm, cell.seed)) for cell in plan.cells
    }


def simulated(arm: str, seed: int) -> Mapping[str, Groups]:
    """``drops`` has two clips of each seed, ``rises`` one of each second seed, ``stays`` one of seed 0 and 1 each."""
    shared = np.random.default_rng(seed).normal(size=3)
    own = np.random.default_rng([seed, len(arm)]).normal(size=3) / 10 + 2.0 * (arm != "control")
    drops, rises, stays = (float(value) for value in shared + own)
    category: dict[str, tuple[float | None, int]] = {"drops": (drops, 2)}
    category |= {"rises": (rises, 2)} if seed % 2 else {}
    category |= {"stays": (stays, 1)} if seed < 2 else {}
    distance = {name: (None, clips) for name, (_, clips) in category.items()}
    return {
        CLIP: {"category": category, "subset": {"two": (drops if seed else None, 3 if seed else 0)}},
        FVD: {"category": distance, "subset": {"two": (rises, 3)}},
    }


@pytest.fixture
def report(plan: Plan) -> Report:
    return build(plan, records(plan, simulated))


def test_a_category_is_compared_over_the_seeds_that_have_it(report: Report) -> None:
    found = {(group.metric, group.grouping, group.name): group for group in report.groups}
    for name, seeds in (("drops", range(6)), ("rises", range(1, 6, 2))):
        control, arm = found[CLIP, "category", name].arms
        values = [[simulated(one, s)[CLIP]["category"][name][0] for s in seeds] for one in ("control", "noise=removed")]
        expected = paired_difference(values[1], values[0])
        assert arm.clips == 2 * len(seeds)
        assert (arm.summary.n, arm.summary.pairs) == (len(seeds), len(seeds))
        assert arm.summary.difference == pytest.approx(expected.difference)
        assert (arm.summary.low, arm.summary.high) == pytest.approx((expected.low, expected.high))
        assert (control.summary.mean, control.summary.low_mean, control.summary.high_mean) == pytest.approx(
            mean_interval(values[0])
        )
        assert control.summary.difference is None
        assert arm.summary.verdict is None, "no test is made"


def test_a_group_under_the_minimum_has_no_value_and_says_so(report: Report) -> None:
    found = {(group.metric, group.name): group for group in report.groups}
    assert {arm.refusal for arm in found[CLIP, "stays"].arms} == {Refusal.FEW_CLIPS}
    assert all(arm.summary.mean is None for arm in found[CLIP, "stays"].arms)
    assert {arm.refusal for arm in found[FVD, "drops"].arms} == {Refusal.FEW_CLIPS_OF_A_SET}
    assert [arm.refusal for arm in found[FVD, "two"].arms] == [None, None]
    assert [arm.clips for arm in found[CLIP, "two"].arms] == [15, 15]
    assert [arm.summary.n for arm in found[CLIP, "two"].arms] == [5, 5]


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(-100, 100), st.integers(-100, 100)), min_size=2, max_size=8), st.integers(1, 3))
def test_one_group_of_all_clips_is_compared_like_all_clips(pairs: list[tuple[int, int]], clips: int) -> None:
    """A category that all clips belong to has the mean and the difference of the table."""
    plan = _planned(len(pairs))
    values = {arm.id: [float(pair[place]) for pair in pairs] for place, arm in enumerate(plan.arms)}
    made = {
        cell.id: make_record(
            cell,
            {CLIP: values[cell.arm][cell.seed]},
            by=plan.study.by.identity if plan.study.by else "",
            groups={CLIP: {"category": {"all": (values[cell.arm][cell.seed], clips + 1)}}},
        )
        for cell in plan.cells
    }
    report = build(plan, made)
    (group,) = [group for group in report.groups if (group.metric, group.name) == (CLIP, "all")]
    for row, arm in zip(report.rows, group.arms, strict=True):
        for number in ("mean", "low_mean", "high_mean", "difference", "low", "high", "n"):
            assert getattr(arm.summary, number) == getattr(row.metrics[CLIP], number), number


def _planned(seeds: int) -> Plan:
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "study.yaml"
        path.write_text(STUDY.replace("seeds: 6", f"seeds: {seeds}").replace("least: 5", "least: 2"))
        return load(path)


def test_values_of_earlier_groups_are_left_out(plan: Plan) -> None:
    made = records(plan, simulated)
    first = next(cell for cell in plan.cells if (cell.arm, cell.seed) == ("control", 0))
    made[first.id] = replace(made[first.id], by="another")
    drops = next(group for group in build(plan, made).groups if (group.metric, group.name) == (CLIP, "drops"))
    assert [arm.clips for arm in drops.arms] == [10, 12]
    assert drops.arms[1].summary.pairs == 5


def test_an_arm_without_cells_has_no_line(plan: Plan) -> None:
    control = ArmValues("control", "control", "", {}, 6, {})
    assert by_group(plan, [control], Inference({})) == ()


# ------------------------------------------------------------------------------------------------------- state of cells


def test_a_cell_scored_by_other_groups_or_labels_is_scored_again(plan: Plan) -> None:
    cell = plan.cells[0]
    record = records(plan, simulated)[cell.id]
    assert state(record, plan) == "done"
    assert state(replace(record, by=""), plan) == "rescore"
    assert state(replace(record, by="", status="failed"), plan) == "failed"
    labelled = plan.with_content(lambda spec: {"texts": "t", "labels": "new"})
    assert state(record, labelled) == "rescore"
    assert state(replace(record, content={"texts": "t", "labels": "new"}), labelled) == "done"


def test_a_result_keeps_its_groups_in_the_index(plan: Plan) -> None:
    groups = {"category": {"drops": GroupScore(value=2.5, clips=3), "rises": GroupScore(value=None, clips=0)}}
    score = Score(value=1.0, groups=groups, direction="max", surrogate=False, parameters={})
    record = Record.of(
        make_result(plan.cells[0].spec, scores={CLIP: score, FVD: score.model_copy(update={"groups": {}})})
    )
    assert record.groups == {CLIP: {"category": {"drops": (2.5, 3), "rises": (None, 0)}}}
    assert plan.study.by is not None
    assert record.by == plan.study.by.identity


# --------------------------------------------------------------------------------------------------------------- report


def test_every_format_has_the_groups_and_the_refusals(report: Report, capsys: pytest.CaptureFixture[str]) -> None:
    headings = [table.heading for table in tables.tables(report)]
    assert headings == [
        "clip_score/shapes_clip ↑ by category",
        "clip_score/shapes_clip ↑ by subset",
        "fd/shapes_r3d ↓ by category",
        "fd/shapes_r3d ↓ by subset",
    ]
    print_terminal(report)
    few, no_set = "no value: 2 clips over all seeds, fewer than 5", "no distance: no cell has 5 clips and 5 reference"
    for text in (capsys.readouterr().out, to_markdown(report), to_html(report, [], [])):
        assert text.count(few) == 2, "one line for all arms, for each metric"
        assert no_set in text
        assert "Intervals are not corrected for the numbers of arms and groups, and no test is made." in text
        assert "Subset two: motions at least 2." in text
    lines = {(line.group, line.arm): line for line in tables.tables(report)[0].lines}
    assert list(lines) == [
        ("drops", "control"),
        ("drops", "noise=removed"),
        ("rises", "control"),
        ("rises", "noise=removed"),
        ("stays", "all arms"),
    ]
    assert lines["drops", "noise=removed"].entry.change.startswith("+")


def test_latex_has_a_table_of_each_grouping_with_the_refusals_as_notes(report: Report) -> None:
    groups = to_latex(report).split(r"\begin{table}")[2:]
    assert [table.count("noise=removed &") for table in groups] == [2, 1, 0, 1]
    assert r"\label{tab:groups-groups-1}" in groups[0]
    head, _, body = groups[0].partition(r"\toprule")
    assert "stays, all arms: no value: 2 clips over all seeds, fewer than 5." in head
    rows = [line.split(" & ") for line in body.splitlines() if " & " in line]
    assert {len(row) for row in rows} == {6}
    drops = next(line for line in tables.tables(report)[0].lines if line.arm == "noise=removed")
    assert rows[2][:2] == ["drops", "noise=removed"]
    assert rows[2][2] == drops.entry.mean.replace("±", r"$\pm$")


def test_a_long_table_of_groups_goes_on_in_the_next_float(report: Report) -> None:
    many = tuple(replace(report.groups[0], name=f"group {number}") for number in range(20))
    latex = to_latex(replace(report, groups=many))
    assert r"\label{tab:groups-groups-1-2}" in latex
    assert latex.count("group 7 &") == 2


def test_the_csv_has_each_group_and_arm_with_its_interval_or_note(report: Report) -> None:
    lines = list(csv.DictReader(io.StringIO(to_groups_csv(report))))
    assert len(lines) == sum(len(group.arms) for group in report.groups)
    found = {(line["metric"], line["group"], line["arm"]): line for line in lines}
    drops = next(group for group in report.groups if (group.metric, group.name) == (CLIP, "drops")).arms[1]
    line = found[CLIP, "drops", "noise=removed"]
    assert [float(line[key]) for key in ("difference", "low", "high")] == [
        drops.summary.difference,
        drops.summary.low,
        drops.summary.high,
    ]
    assert (line["clips"], line["note"]) == ("12", "")
    stays = found[CLIP, "stays", "control"]
    assert (stays["mean"], stays["note"]) == ("", "no value: 2 clips over all seeds, fewer than 5")


def test_the_csv_of_groups_is_saved_where_there_are_some(
    report: Report, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writers, "plots", lambda _: [])
    ledger = Ledger(tmp_path / "groups")
    names = [
        [path.name for path in writers.save(one, ledger, tmp_path)] for one in (report, replace(report, groups=()))
    ]
    assert ["groups.csv" in of for of in names] == [True, False]


def test_the_json_has_numbers_and_null(report: Report) -> None:
    import json

    groups = json.loads(to_json(report))["groups"]
    stays = next(group for group in groups if (group["metric"], group["name"]) == (CLIP, "stays"))
    assert stays["arms"][1] == {
        "id": "noise=removed",
        "clips": 2,
        "refusal": "few clips",
        **dict.fromkeys(("mean", "low_mean", "high_mean", "difference", "low", "high")),
        "n": 0,
        "pairs": 0,
    }


def test_a_study_without_groups_has_no_part_of_them(write: Callable[[str], Path]) -> None:
    plan = load(write(STUDY.partition("by:")[0]))
    report = build(plan, {cell.id: make_record(cell, {CLIP: 1.0, FVD: 2.0}) for cell in plan.cells})
    assert report.groups == ()
    assert "By group" not in report.caption
    assert 'id="groups"' not in to_html(report, [], [])
