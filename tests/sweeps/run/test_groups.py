"""Worker groups under Ray Tune: trials that are stopped, losses that diverge, groups that never fit, exports."""

import json
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ray.cluster_utils import Cluster

from sweeps.plan import load
from tests.factories import prove_here, sweeps, sweeps_here
from trainables import worker
from trainables.cell_files import TRAINED
from trainables.group import Group
from trainables.reservations import remove_orphaned_placement_groups
from trainables.trial_spec import RESULT, Result, TrialSpec

pytestmark = [
    pytest.mark.slow,
    pytest.mark.xdist_group("groups"),
    pytest.mark.timeout(900),
    pytest.mark.filterwarnings("ignore"),  # Ray Train starts in pytest's own process, and warns of old settings
]


def results(storage: Path) -> list[Result]:
    return [Result.model_validate_json(path.read_bytes()) for path in storage.glob(f"tiny/cells/*/{RESULT}")]


def test_a_group_spans_nodes_and_one_that_never_fits_is_refused_with_the_arithmetic(
    tiny_training: Callable[[int], str], tmp_path: Path
) -> None:
    study, storage, other = tmp_path / "study.yaml", tmp_path / "runs", tmp_path / "other"
    asked = "arms: {faster: {training.lr: 0.002}}\nresources: {workers: 2, zero: {stage: 2}}\n"
    study.write_text(tiny_training(10) + asked)
    wider, never = tmp_path / "wider.yaml", tmp_path / "never.yaml"
    wider.write_text(study.read_text().replace("workers: 2", "workers: 4"))
    never.write_text(study.read_text().replace("workers: 2", "workers: 4, cpus_per_worker: 500"))
    for folder in (storage, other):
        prove_here(study, folder)
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "num_gpus": 0})
    try:
        for _ in range(2):
            cluster.add_node(num_cpus=1, num_gpus=0)  # a rank each: neither node holds two
        done = sweeps("run", study, "--storage", storage, "--only", "control", RAY_ADDRESS=cluster.address)
        assert done.returncode == 0, done.stderr
        refused = [sweeps("run", one, "--storage", other, RAY_ADDRESS=cluster.address) for one in (wider, never)]
    finally:
        cluster.shutdown()
    assert [one.returncode for one in refused] == [2, 2]
    assert "4 workers with 1 CPU each" in refused[0].stderr
    assert "but only 2 fit on the cluster's nodes" in refused[0].stderr
    assert "a cell needs 4 workers with 500 CPU each, but only 0 fit on the cluster's nodes" in refused[1].stderr
    assert "-> fewer workers, or a larger cluster" in refused[1].stderr
    assert not (other / "tiny" / "cells").exists()
    (result,) = results(storage)
    assert (result.status, result.spec.scaling.workers) == ("done", 2)


def test_hopeless_trials_are_stopped_and_a_model_is_exported(
    cluster_with_dashboard: None, tiny_training: Callable[[int], str], tmp_path: Path
) -> None:
    study, storage = tmp_path / "study.yaml", tmp_path / "runs"
    asked = """
arms: {faster: {training.lr: 0.002}}
resources: {report_every: 2, max_concurrent: 1}
search:
  space: {training.lr: {log_uniform: [1.0e-12, 1.0e-2]}}
  points: [{training.lr: 1.0e-3}, {training.lr: 1.0e-12}]
  search_sampler: random
  trials_per_arm: 2
  trial_scheduler: {kind: asha, grace: 1, factor: 4}
"""
    study.write_text(tiny_training(20) + asked)
    done = sweeps_here("run", study, "--storage", storage, "--only", "control")
    assert done.exit_code == 0, done.stderr
    statuses = Counter((result.spec.stage, result.status) for result in results(storage))
    assert statuses["plan", "done"] == 1, "a cell of the plan is never stopped"
    assert (statuses["search", "done"], statuses["search", "pruned"]) == (1, 1)
    done_ones = [result for result in results(storage) if result.status == "done"]
    assert all(len(points(storage, result)) == 11 for result in done_ones), "the warm-up, then one in two steps"
    pruned = [result for result in results(storage) if result.status == "pruned"]
    assert all(len(points(storage, result)) < 11 for result in pruned)
    assert {path.parent.name for path in storage.glob("tiny/cells/*/stop")} <= {one.cell_id for one in pruned}

    (control,) = [result for result in done_ones if result.spec.stage == "plan"]
    exported = sweeps_here("export", control.cell_id[:10], "-o", tmp_path / "model", "--storage", storage)
    assert exported.exit_code == 0, exported.stderr
    assert (tmp_path / "model" / "seer" / "diffusion_pytorch_model.safetensors").is_file()
    refused = sweeps_here("export", "zzz", "-o", tmp_path / "other", "--storage", storage)
    assert refused.exit_code == 2
    assert "no finished cell with this id" in refused.stderr
    again = sweeps_here("export", control.cell_id, "-o", tmp_path / "model", "--storage", storage)
    assert again.exit_code == 2
    assert "already exists" in again.stderr
    assert (storage / "tiny" / "cells" / control.cell_id / TRAINED).is_file()


def test_a_loss_that_diverges_is_a_result(
    cluster_with_dashboard: None, tiny_training: Callable[[int], str], tmp_path: Path
) -> None:
    study, storage = tmp_path / "study.yaml", tmp_path / "runs"
    study.write_text(tiny_training(40) + "arms: {exploding: {training.lr: 1.0e+30, training.max_grad_norm: 0}}\n")
    done = sweeps_here("run", study, "--storage", storage, "--only", "exploding")
    (exploded,) = results(storage)
    assert exploded.error.startswith("NonFiniteError: the loss became")
    assert "diverged" in done.stdout
    for wrong, message in (("", "no finished cell with this id"), (exploded.cell_id, "no trained")):
        refused = sweeps_here("export", wrong, "-o", tmp_path / "other", "--storage", storage)
        assert refused.exit_code == 2
        assert message in refused.stderr


def cell(tiny_training: Callable[[int], str], tmp_path: Path) -> TrialSpec:
    study = tmp_path / "study.yaml"
    study.write_text(tiny_training(40) + "arms: {faster: {training.lr: 0.002}}\nresources: {workers: 2}\n")
    spec = load(study).cells[0].spec
    return spec.model_copy(update={"scaling": spec.scaling.model_copy(update={"workers": 2, "gpus_per_worker": 0.0})})


def second_rank_fails() -> Callable[[dict[str, Any]], None]:
    """A training whose second rank fails while the first waits for it; made here, so that ranks get it by value."""

    def train(config: dict[str, Any]) -> None:
        import time

        from ray.train import get_context

        if get_context().get_world_rank() == 1:
            raise ValueError("frame 7 is torn")
        time.sleep(60)

    return train


def test_an_error_of_any_rank_is_the_cells_result(
    cluster_with_dashboard: None, monkeypatch: pytest.MonkeyPatch, tiny_training: Callable[[int], str], tmp_path: Path
) -> None:
    monkeypatch.setattr(worker, "train_loop_per_worker", second_rank_fails())
    spec = cell(tiny_training, tmp_path)
    assert Group(spec, tmp_path, warm=True).next() is None
    result = Result.model_validate_json((spec.folder(tmp_path) / RESULT).read_bytes())
    assert (result.status, result.error) == ("failed", "ValueError: frame 7 is torn")


def a_holder() -> Any:
    """An actor that reserves a core, as Ray Train's controller does for its workers."""
    import ray

    class Holder:
        def hold(self) -> str:
            from ray.util import placement_group

            group = placement_group([{"CPU": 1}])
            ray.get(group.ready(), timeout=60)
            return str(group.id.hex())

    return ray.remote(num_cpus=0)(Holder).remote()


def test_what_the_dead_reserved_is_freed_and_nothing_else(cluster_with_dashboard: None) -> None:
    import ray
    from ray.util import placement_group, placement_group_table

    living, dead = a_holder(), a_holder()
    of_the_living, of_the_dead = ray.get(living.hold.remote(), timeout=60), ray.get(dead.hold.remote(), timeout=60)
    waiting = placement_group([{"CPU": 1}])  # of this driver, for what the dead one holds
    assert remove_orphaned_placement_groups() == 0
    ray.kill(dead)
    end = time.monotonic() + 60
    while not remove_orphaned_placement_groups():
        assert time.monotonic() < end
        time.sleep(0.1)
    ray.get(waiting.ready(), timeout=60)
    states = {key: group["state"] for key, group in placement_group_table().items()}
    assert states[of_the_dead] == "REMOVED"
    assert {states[of_the_living], states[waiting.id.hex()]} == {"CREATED"}
    assert remove_orphaned_placement_groups() == 0


def points(storage: Path, result: Result) -> list[dict[str, object]]:
    lines = (storage / "tiny" / "cells" / result.cell_id / "metrics.jsonl").read_text().splitlines()
    return [json.loads(line) for line in lines]
