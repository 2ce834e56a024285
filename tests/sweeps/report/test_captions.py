"""Captions of measures between sets: the numbers without which they mean nothing, in every form of the report."""

from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from sweeps.plan import Plan, load
from sweeps.report.latex import to_latex
from sweeps.report.markdown import to_markdown
from sweeps.report.page import to_html
from sweeps.report.table import build
from sweeps.report.terminal import print_terminal
from sweeps.results.record import Record
from tests.factories import make_record

STUDY = """\
name: reported
system: zs2
base: shapes
metrics: [fvd, kvd, clip_score]
seeds: 2
protocol: {clips: 8, frames: 8}
ablations:
  - {part: noise, action: REMOVE}
"""
FD, MMD, CLIP = "fd/shapes_r3d", "mmd/shapes_r3d", "clip_score/shapes_clip"
NUMBERS = {"clips": 8, "frames": 8, "references": 2048, "num_features": 64}
SETS = {FD: {**NUMBERS, "ddof": 1, "floor": 420.66131, "floor_sd": 74.7}, MMD: NUMBERS}
OF_FD = (
    "N = 8 clips x 8 frames a seed, 2,048 reference clips, width 64, ddof 1; floor 420.7 (sd 75): real against real "
    "clips at the same N."
)
OF_MMD = "N = 8 clips x 8 frames a seed, 2,048 reference clips, width 64."


@pytest.fixture
def plan(write: Callable[[str], Path]) -> Plan:
    return load(write(STUDY))


def records(plan: Plan, sets: Mapping[str, dict[str, float]] = SETS) -> dict[str, Record]:
    scores = {FD: 500.0, MMD: 1.0, CLIP: 20.0}
    return {cell.id: make_record(cell, scores, sets=dict(sets)) for cell in plan.cells}


def test_every_form_says_numbers_and_floor(plan: Plan, capsys: pytest.CaptureFixture[str]) -> None:
    report = build(plan, records(plan))
    print_terminal(report)
    for form in (capsys.readouterr().out, to_markdown(report), to_latex(report), to_html(report, (), ())):
        words = " ".join(form.split())
        assert OF_FD in words
        assert OF_MMD in words
        assert words.count("floor") == 1, "only what has one"
    lines = {line.partition(":")[0]: line for line in report.caption.splitlines()}
    assert lines[FD].endswith(f". {OF_FD}")
    assert "N = " not in lines[CLIP]


def test_without_results_a_caption_has_no_numbers(plan: Plan) -> None:
    for found in ({}, records(plan, {})):
        assert "N = " not in build(plan, found).caption


def test_numbers_are_those_of_the_values_in_the_table(plan: Plan) -> None:
    """A value that was scored with other settings than the control's is in no mean, and its numbers in no caption."""
    found = records(plan)
    for cell in plan.cells:
        if cell.arm != "control":
            other = {key: {**numbers, "references": 256} for key, numbers in SETS.items()}
            found[cell.id] = make_record(cell, found[cell.id].scores, sets=other, settings=dict.fromkeys(SETS, "other"))
    report = build(plan, found)
    assert OF_FD in report.caption
    assert "256 reference clips" not in report.caption
    assert any("2 values excluded" in note for note in report.notes)
