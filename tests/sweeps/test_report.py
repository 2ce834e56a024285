import json
from pathlib import Path

import numpy as np
import pytest

from sweeps.ledger import Ledger
from sweeps.plan import Plan, expand
from sweeps.report import build, main, print_terminal, save, to_json, to_markdown
from sweeps.spec import load
from trainables.cell_files import Drawn, save_clips
from trainables.trial_spec import RESULT, Result, Score

STUDY = """
name: reported
question: Is the table right?
system: zs2
base: {base}
data: {{layout: prompts, prompts: [a red circle]}}
metrics: [temporal_flickering]
seeds: 4
protocol: {{clips: 2, frames: 3, height: 32, width: 32}}
ablations:
  - {{part: noise, action: REMOVE}}
  - {{part: attention, action: REMOVE}}
"""
FLICKERING, MOTION = "temporal_flickering/vbench_formula", "motion_magnitude/farneback"
DIFFERENCES = {"control": 0.0, "noise=removed": -0.5, "attention=removed": 0.0}


def value(arm: str, seed: int) -> float:
    """A common effect of the seed, a known difference of the arm, and a little that is neither."""
    return 0.9 + 0.1 * seed + DIFFERENCES[arm] + (0.001 * (-1) ** seed if arm != "control" else 0)


def put(
    plan: Plan, ledger: Ledger, *, failed: tuple[str, int] | None = None, skip: tuple[str, int] | None = None
) -> None:
    for cell in plan.cells:
        here = (cell.arm, cell.seed)
        if here == skip:
            continue
        folder = ledger.cell_folder(cell.id)
        folder.mkdir(parents=True)
        save_clips(Drawn(np.full((2, 3, 32, 32, 3), 40 * cell.seed, np.uint8), {}, "c0de"), folder)
        number = value(*here)
        scores = {
            key: Score(value=number, direction="max", surrogate=False, parameters={"frames": 3})
            for key in (FLICKERING, MOTION)
        }
        error = "NonFiniteError: NaN at step 3" if here == failed else ""
        result = Result(
            cell_id=cell.id,
            spec=cell.spec,
            status="failed" if error else "done",
            error=error,
            scores={} if error else scores,
            finished="now",
        )
        (folder / RESULT).write_text(result.model_dump_json())


@pytest.fixture
def plan(tiny_base_folder: Path, tmp_path: Path) -> Plan:
    path = tmp_path / "study.yaml"
    path.write_text(STUDY.format(base=tiny_base_folder))
    return expand(load(path))


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    return Ledger(tmp_path / "runs" / "reported")


def test_differences_are_paired_by_seed(plan: Plan, ledger: Ledger) -> None:
    put(plan, ledger)
    rows = {row.id: row.metrics[FLICKERING] for row in build(plan, ledger).rows}
    assert list(rows) == list(DIFFERENCES)
    noise = rows["noise=removed"]
    assert noise.mean == pytest.approx(np.mean([value("noise=removed", seed) for seed in range(4)]))
    assert noise.sd == pytest.approx(np.std([value("noise=removed", seed) for seed in range(4)], ddof=1))
    assert noise.difference == pytest.approx(-0.5)
    assert noise.low is not None
    assert noise.high is not None
    assert -0.51 < noise.low < -0.5 < noise.high < -0.49
    assert rows["control"].difference is None
    attention = rows["attention=removed"]
    assert attention.low is not None
    assert attention.high is not None
    assert attention.low < 0 < attention.high


def test_json_has_the_documented_form(plan: Plan, ledger: Ledger) -> None:
    put(plan, ledger)
    report = json.loads(to_json(build(plan, ledger)))
    assert set(report) == {"arms"}
    for arm in report["arms"]:
        assert set(arm) == {"id", "metrics"}
        assert set(arm["metrics"]) == {FLICKERING, MOTION}
        assert all(set(m) == {"mean", "sd", "n", "difference", "low", "high"} for m in arm["metrics"].values())


def test_a_failed_cell_is_marked_and_its_seed_left_out(plan: Plan, ledger: Ledger) -> None:
    put(plan, ledger, failed=("noise=removed", 2), skip=("attention=removed", 0))
    report = build(plan, ledger)
    _, noise, attention = report.rows
    assert (noise.failed, noise.missing, noise.metrics[FLICKERING].n) == (1, 0, 3)
    assert (attention.failed, attention.missing, attention.metrics[FLICKERING].n) == (0, 1, 3)
    assert noise.metrics[FLICKERING].difference == pytest.approx(-0.5 - 0.001 / 3)
    markdown = to_markdown(report)
    assert "noise=removed (1 failed)" in markdown
    assert "attention=removed (1 missing)" in markdown
    assert "noise=removed seed 2: NonFiniteError: NaN at step 3" in markdown


def test_verdicts_follow_the_direction_and_context_has_none(
    plan: Plan, ledger: Ledger, capsys: pytest.CaptureFixture[str]
) -> None:
    put(plan, ledger)
    report = build(plan, ledger)
    flickering, motion = report.metrics
    assert report.rows[1].metrics[FLICKERING].verdict(flickering) == "worse"
    assert report.rows[1].metrics[MOTION].verdict(motion) == "lower"
    assert report.rows[2].metrics[FLICKERING].verdict(flickering) == ""
    print_terminal(report)
    printed = capsys.readouterr().out
    assert "worse" in printed
    assert "better / worse" in printed
    assert "4 seeds the smallest two-sided sign-flip p is 0.12" in printed


def test_mixed_settings_and_code_are_said(plan: Plan, ledger: Ledger) -> None:
    put(plan, ledger)
    cell = plan.cells[0]
    path = ledger.cell_folder(cell.id) / RESULT
    result = Result.model_validate_json(path.read_bytes())
    score = result.scores[FLICKERING].model_copy(update={"parameters": {"frames": 16}})
    changed = {"scores": {**result.scores, FLICKERING: score}, "provenance": {"code_hash": "other"}}
    path.write_text(result.model_copy(update=changed).model_dump_json())
    notes = " ".join(build(plan, ledger).notes)
    assert f"{FLICKERING}: not all cells were scored with the same settings" in notes
    assert "more than one version of the code" in notes


def test_saved_strips_show_every_arm(plan: Plan, ledger: Ledger, tmp_path: Path) -> None:
    put(plan, ledger)
    files = save(build(plan, ledger), ledger, tmp_path / "saved")
    assert [file.name for file in files] == [
        "table.md",
        "report.json",
        "strip_seed0_clip0.png",
        "strip_seed0_clip1.png",
    ]
    from PIL import Image

    with Image.open(files[2]) as strip:
        assert strip.size[1] > 3 * 64


def test_a_study_that_never_ran_is_said(plan: Plan, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(plan, tmp_path / "nowhere", "json", None) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "run it first" in captured.err
