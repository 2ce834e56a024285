"""A study with arms of two systems on bases of two families, from its plan to its table."""

import json
from pathlib import Path

import pytest

from models.bases.families import STABLE_VIDEO_DIFFUSION
from tests.factories import sweeps_here
from trainables.trial_spec import RESULT, Result

STUDY = """\
name: across
system: exvideo
base: {video}
data: {{layout: shapes, references: 4}}
metrics: [psnr, motion_magnitude]
seeds: 2
protocol: {{clips: 2, frames: 4, steps: 2, guidance: 1.0, height: 32, width: 32}}
training: {{steps: 4, global_batch_size: 2, clips: 4}}
arms:
  untrained: {{trainable: removed, protocol: {{steps: 3}}}}
  seer:
    system: seer
    base: {image}
    training: {{steps: 6, global_batch_size: 2, clips: 4, lr: 1.0e-3}}
    text_decomposer.num_layers: 1
    text_decomposer.num_heads: 2
    text_decomposer.identity_steps: 2
    temporal_attention.num_heads: 2
    references: 1
by: {{column: shape, least: 2}}
resources: {{report_every: 2, checkpoint_every: 4}}
"""
pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore"),  # Ray Train starts in pytest's own process, and warns of old settings
]


@pytest.fixture
def study(tiny_base_folder: Path, tmp_path: Path) -> Path:
    STABLE_VIDEO_DIFFUSION.implementation().tiny().save(tmp_path / "video")
    path = tmp_path / "study.yaml"
    path.write_text(STUDY.format(video=tmp_path / "video", image=tiny_base_folder))
    return path


@pytest.mark.timeout(600)
def test_arms_of_two_systems_are_run_and_compared(cluster_with_dashboard: None, study: Path, tmp_path: Path) -> None:
    storage = tmp_path / "runs"
    done = sweeps_here("run", study, "--storage", storage)
    assert done.exit_code == 0, done.stderr
    results = [Result.model_validate_json(path.read_bytes()) for path in storage.glob(f"across/cells/*/{RESULT}")]
    assert sorted((result.spec.arm, result.spec.system, result.status) for result in results) == [
        *[("control", "exvideo", "done")] * 2,
        *[("seer", "seer", "done")] * 2,
        *[("untrained", "exvideo", "done")] * 2,
    ]
    kept = {(one.spec.system, one.provenance["code_hash"], one.provenance["base_hash"]) for one in results}
    assert len(kept) == 2, "code and weights of the own system"

    report = json.loads((storage / "across" / "report" / "report.json").read_text())
    assert [arm["id"] for arm in report["arms"]] == ["control", "untrained", "seer"]
    numbers = [arm["metrics"]["psnr/vs_truth"] for arm in report["arms"]]
    assert [found["n"] for found in numbers] == [2, 2, 2]
    assert [found["difference"] is None for found in numbers] == [True, False, False], "paired with the control"
    groups = [group for group in report["groups"] if group["metric"] == "psnr/vs_truth"]
    assert groups
    assert all(len(group["arms"]) == 3 for group in groups)
    again = sweeps_here("run", study, "--storage", storage)
    assert "6 done, 0 to run" in again.stderr
