"""A study with blocks, run as a whole: every block is checked before the first one runs."""

import json
from pathlib import Path

import pytest

from tests.factories import sweeps_here

STUDY = """
name: blocked
system: zs2
base: {base}
data: {{layout: prompts, prompts: [a red circle]}}
metrics: [temporal_flickering]
seeds: 1
protocol: {{clips: 1, frames: 2, steps: 1, guidance: 1.0, height: 32, width: 32}}
resources: {{max_concurrent: 1}}
ablations:
  - {{part: noise, action: REMOVE}}
blocks:
  short: {{protocol: {{frames: 2}}}}
  long: {{{long}}}
"""


def test_no_block_runs_where_a_later_one_is_refused(tiny_base_folder: Path, tmp_path: Path) -> None:
    study, storage = tmp_path / "study.yaml", tmp_path / "runs"
    study.write_text(STUDY.format(base=tiny_base_folder, long="protocol: {frames: 3}, arms: {x: {attention: removed}}"))
    refused = sweeps_here("run", study, "--storage", storage, "--only", "x")
    assert refused.exit_code == 2
    assert refused.stderr.splitlines() == ["--only x -> control, noise=removed"]
    assert not list(storage.glob("*/cells/*"))


@pytest.mark.slow
@pytest.mark.xdist_group("driver")
@pytest.mark.timeout(300)
def test_every_block_runs_and_the_overview_leads_to_each(cluster: None, tiny_base_folder: Path, tmp_path: Path) -> None:
    study, storage = tmp_path / "study.yaml", tmp_path / "runs"
    study.write_text(STUDY.format(base=tiny_base_folder, long="protocol: {frames: 3}"))
    done = sweeps_here("run", study, "--storage", storage)
    assert done.exit_code == 0, done.stderr
    assert "block short, 1 of 2" in done.stderr
    assert "block long, 2 of 2" in done.stderr
    overview = storage / "blocked" / "report" / "report.html"
    assert str(overview) in done.stdout
    for block, frames in (("short", 2), ("long", 3)):
        assert f"../../blocked.{block}/report/report.html" in overview.read_text(encoding="utf-8")
        results = [json.loads(path.read_bytes()) for path in storage.glob(f"blocked.{block}/cells/*/result.json")]
        assert [result["spec"]["protocol"]["frames"] for result in results] == [frames, frames]
    again = sweeps_here("run", study, "--storage", storage, "--block", "long")
    assert again.exit_code == 0
    assert "2 done, 0 to run" in again.stderr
    assert "block" not in again.stderr.replace("blocked", "")
