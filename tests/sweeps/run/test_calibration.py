"""``plan --calibrate`` and ``budget:`` through the real engine, on a tiny base."""

import json
from collections import Counter
from pathlib import Path

import pytest

from tests.factories import TINY_STUDY, sweeps_here

STUDY = (
    TINY_STUDY
    + """\
seeds: 4
protocol: {{clips: 2, frames: 3, steps: 10, guidance: 2.0, height: 32, width: 32}}
resources: {{max_concurrent: 1}}
ablations:
  - {{part: attention, action: REMOVE}}
  - {{part: attention.mu, action: VALUES, values: [0.5]}}
"""
)
pytestmark = pytest.mark.slow


def cells(study: Path, storage: Path) -> Counter[str]:
    """Cells that are done, by arm."""
    planned = json.loads(sweeps_here("plan", study, "--storage", storage, "--json").stdout)
    return Counter(cell["arm"] for cell in planned["cells"] if cell["state"] == "done")


@pytest.mark.timeout(600)
def test_prices_once_taken_stay_and_a_budget_ends_a_study_balanced(
    cluster: None, tiny_base_folder: Path, tmp_path: Path
) -> None:
    study, storage = tmp_path / "study.yaml", tmp_path / "runs"
    text = STUDY.format(base=tiny_base_folder)
    study.write_text(text)
    first = sweeps_here("plan", study, "--storage", storage, "--calibrate", "--json")
    assert first.exit_code == 0, first.stderr
    found = json.loads(first.stdout)
    assert [arm["cells"] for arm in found["arms"]] == [4, 4, 4]
    assert found["calibration_seconds"] > 0
    assert 0 < found["least"] < found["seconds"] < found["most"]
    kept = json.loads((storage / "tiny" / "calibration.json").read_text())
    assert len(kept["prices"]) == 2, "mu is no shape of its own"
    assert not (storage / "tiny" / ".calibration").exists()
    assert cells(study, storage) == Counter(), "short cells are none of the study's"

    again = json.loads(sweeps_here("plan", study, "--storage", storage, "--calibrate", "--json").stdout)
    assert again == found | {"calibration_seconds": 0.0}
    printed = sweeps_here("plan", study, "--storage", storage, "--calibrate").stdout
    assert "worker-hours, 0 GPU-hours" in printed
    assert "estimated from an earlier calibration" in printed

    study.write_text(text + "budget: {wall_clock: 1.0e-6}\n")
    for command in (["run"], ["plan", "--calibrate"]):
        refused = sweeps_here(command[0], study, "--storage", storage, *command[1:])
        assert refused.exit_code == 2, refused.stdout
        assert "budget: wall_clock 1e-06 is too small" in refused.stderr
        assert "-> a larger budget, or fewer arms" in refused.stderr

    seconds = sum(arm["seconds"] for arm in found["arms"])
    hours = (found["seconds"] + 2 * seconds) / 3600 / 3  # Ray's start and a few seeds, by far not all
    study.write_text(text + f"budget: {{wall_clock: {hours}}}\n")
    ended = sweeps_here("run", study, "--storage", storage)
    assert ended.exit_code == 0, ended.stderr
    done = cells(study, storage)
    assert len(set(done.values())) == 1, "as many of every arm"
    if done["control"] < 4:
        assert "-> a larger budget to resume" in ended.stderr
    study.write_text(text + "budget: {wall_clock: 1}\n")
    assert sweeps_here("run", study, "--storage", storage).exit_code == 0
    assert set(cells(study, storage).values()) == {4}
    spent = json.loads((storage / "tiny" / "spent.json").read_text())["hours"]
    assert 0 < spent < 1
