"""Ray Tune itself, with a trainable that reports several times: what is stopped early, what is lost, what is kept."""

import os
import signal
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ray import tune

from sweeps.plan import Plan, load
from sweeps.results.ledger import Ledger, state
from sweeps.results.winners import winners
from sweeps.run.lock import StudyLock
from sweeps.run.progress import Progress
from sweeps.run.queue import Queue
from sweeps.run.recorder import Recorder
from sweeps.run.tune import run_trials
from sweeps.tracking.tracker import Tracker
from trainables.provenance import code_hash
from trainables.spool import Spool
from trainables.trial_spec import OBJECTIVE

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("tune"), pytest.mark.timeout(300)]
REPORTS = 9
STUDY = """\
name: stopped
system: zs2
base: shapes
metrics: [clip_score]
seeds: 2
resources: {{max_concurrent: 1}}
ablations:
  - {{part: attention, action: REMOVE}}
search:
  space: {{noise.threshold: {{uniform: [0, 1]}}}}
  trials_per_arm: 9
  search_sampler: random
  trial_scheduler: {scheduler}
"""


def fake() -> type[tune.Trainable]:
    """A trainable that reports nine times; made here, so that workers get it by value."""
    from pathlib import Path

    from ray import tune

    from trainables.cell_files import begin_attempt
    from trainables.files import write_atomically
    from trainables.trial_spec import OBJECTIVE, RESULT, UPDATE, Result, Score, TrialSpec

    class Reporting(tune.Trainable):  # type: ignore[misc]
        def setup(self, config: dict[str, Any]) -> None:
            self.done = 0

        def reset_config(self, config: dict[str, Any]) -> bool:
            self.done = 0
            return True

        def step(self) -> dict[str, Any]:
            spec = TrialSpec.model_validate(self.config["spec"])
            folder = Path(self.config["storage"]) / spec.study / "cells" / spec.cell_id
            if self.done == 0:
                self.attempt = begin_attempt(folder)
                if spec.seed == 1 and spec.arm == "control" and self.attempt < 3 and spec.stage == "plan":
                    os.kill(os.getpid(), signal.SIGKILL)
            self.done += 1
            value = spec.sampled.get("noise.threshold", 0.0) + 0.001 * self.done
            Spool(folder).append(self.done, {"loss": 1 / self.done})
            report = {OBJECTIVE: value, UPDATE: 50 * self.done}
            if self.done < 9:
                return report
            score = Score(value=value, direction="max", surrogate=True, parameters={})
            result = Result(
                cell_id=spec.cell_id,
                spec=spec,
                status="done",
                attempt=self.attempt,
                scores={self.config["objective"]: score},
                finished="now",
            )
            write_atomically(folder / RESULT, result.model_dump_json().encode())
            return report | {"status": "done", "done": True}

    return Reporting


def carry_out(plan: Plan, storage: Path) -> Ledger:
    ledger = Ledger(storage / plan.study.name)
    with StudyLock(ledger.folder) as lock:
        ledger.cells.mkdir()
        tracker = Tracker("http://127.0.0.1:9", plan.study.name, "", storage / "artifacts", {})
        queue = Queue(plan, ledger.records())
        with Progress(queue.total) as progress:
            run_trials(queue, Recorder(ledger, tracker, progress, lock), storage, trainable=fake())
    return ledger


@pytest.mark.parametrize("scheduler", ["{kind: asha, grace: 1, factor: 3}", "{kind: median, grace: 2}"])
def test_only_a_searchs_trials_are_stopped_and_every_arm_has_as_many(
    cluster: None, scheduler: str, write: Callable[[str], Path], tmp_path: Path
) -> None:
    from sweeps.run.proposer import ArmSearch

    plan = load(write(STUDY.format(scheduler=scheduler)))
    assert plan.search is not None
    ledger = carry_out(plan, tmp_path)
    records = ledger.records()
    assert {state(records.get(cell.id), plan) for cell in plan.cells} == {"done"}
    trials = [record for record in records.values() if record.stage == "search"]
    assert Counter(record.arm for record in trials) == {"control": 9, "attention=removed": 9}
    statuses = Counter(record.status for record in trials)
    assert set(statuses) == {"done", "pruned"}
    stopped = {record.code_hash for record in trials if record.status == "pruned"}
    assert stopped == {code_hash("zs2")}, "the next run would take them for results of other code"
    for arm in ("control", "attention=removed"):
        of_arm = [record for record in trials if record.arm == arm]
        best = max(of_arm, key=lambda record: float(record.sampled["noise.threshold"]))
        assert best.status == "done", "the best trial is not stopped"
        search = ArmSearch(plan.search, plan.search.space_of(arm), records)
        assert search.done
        assert winners(plan.search, plan.search.space_of(arm), records, 1) == [best.sampled]
    for record in records.values():
        points = Spool(ledger.cell_folder(record.cell_id)).points()
        expected = REPORTS if record.status == "done" else range(1, REPORTS)
        assert len(list(points)) == expected if isinstance(expected, int) else len(list(points)) in expected


def test_a_lost_worker_is_started_again_and_the_attempt_counted(
    cluster: None, write: Callable[[str], Path], tmp_path: Path
) -> None:
    text = STUDY.format(scheduler="").partition("search:")[0]
    plan = load(write(text))
    records = carry_out(plan, tmp_path).records()
    attempts = {(record.arm, record.seed): record.attempt for record in records.values()}
    assert attempts == {
        ("control", 0): 1, ("control", 1): 3, ("attention=removed", 0): 1, ("attention=removed", 1): 1,
    }  # fmt: skip
    assert OBJECTIVE not in next(iter(records.values())).scores
