"""Ray Tune trainable: workers must start faster than a cell runs."""

from pathlib import Path
from typing import Any

import pytest
import torch

from models import backbones
from models.bases import Protocol
from models.training import AdamW
from models.zs2 import ZS2
from tests.factories import fresh, full_disk, make_spec
from tests.tolerance import in_float64
from trainables import evaluate
from trainables.evaluate import Workbench
from trainables.trial import CellTrial
from trainables.trial_spec import RESULT, Result, TrialSpec


@pytest.mark.slow
def test_a_worker_starts_without_the_heavy_libraries() -> None:
    # Tune drops a starting worker as soon as another is free for its cell: a slow start leaves one worker alone.
    code = """
from trainables.trial import CellTrial
worker = CellTrial.__new__(CellTrial)
worker.setup({"storage": "nowhere", "warm": True})
"""
    assert not {"torch", "diffusers", "transformers", "cv2", "decord"} & fresh(code).packages


def cell(tiny_base_folder: Path) -> TrialSpec:
    return make_spec(
        tree=ZS2().model_dump(mode="json"),
        base=str(tiny_base_folder),
        data={"layout": "prompts", "prompts": ["a red circle", "a blue square"]},
        protocol=Protocol(clips=2, frames=3, steps=2, guidance=2.0, height=32, width=32),
        metrics=("temporal_flickering",),
    )


def run(spec: TrialSpec, storage: Path) -> tuple[list[dict[str, Any]], Result]:
    """Run the steps of a trial as Tune does, and read its result."""
    worker = CellTrial.__new__(CellTrial)
    worker.config = {"spec": spec.model_dump(mode="json"), "storage": str(storage), "warm": True, "objective": ""}
    worker._trial_info = None
    worker.setup(worker.config)
    worker._workbench = lambda spec: Workbench.on(storage, spec.scaling, shared=False)
    steps = []
    while not steps or not steps[-1].get("done"):
        steps.append(worker.step())
        assert len(steps) < 5
    return steps, Result.model_validate_json((spec.folder(storage) / RESULT).read_bytes())


@pytest.mark.slow
@in_float64()
@pytest.mark.filterwarnings("ignore")
def test_a_cell_whose_memory_does_not_suffice_is_drawn_clip_by_clip(
    tiny_base_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Drawn in float64, whole and in parts differ by so little that no pixel is rounded to another whole number.
    monkeypatch.setitem(backbones.DTYPES, "fp32", torch.float64)
    spec, draw = cell(tiny_base_folder), evaluate.sample
    _, whole = run(spec, tmp_path / "whole")

    def small_memory(spec: TrialSpec, *rest: Any, **more: Any) -> Any:
        if spec.protocol.micro_batch is None:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return draw(spec, *rest, **more)

    monkeypatch.setattr(evaluate, "sample", small_memory)
    steps, result = run(spec, tmp_path / "small")
    assert [step.get("status") for step in steps] == [None, "done"]
    assert result.retries == ("OutOfMemoryError: CUDA out of memory",)
    assert result.cell_id == whole.cell_id
    for key, score in whole.scores.items():
        assert result.scores[key].value == score.value

    def no_memory(*rest: Any, **more: Any) -> Any:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(evaluate, "sample", no_memory)
    steps, result = run(spec, tmp_path / "none")
    assert [step.get("status") for step in steps] == [None, "failed"]
    assert (result.failure, len(result.retries)) == ("out of memory", 1)
    assert result.error.endswith("-> fewer or smaller frames: not even one clip at a time fits")
    assert steps[-1]["error"] == result.error


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("free", [0, 400, 4000])
def test_a_cell_without_space_for_its_files_says_so(free: int, tiny_base_folder: Path, tmp_path: Path) -> None:
    """First its attempt, then its result, then its clips find no space."""
    spec = cell(tiny_base_folder)
    folder = spec.folder(tmp_path)
    folder.mkdir(parents=True)
    worker = CellTrial.__new__(CellTrial)
    worker.config = {"spec": spec.model_dump(mode="json"), "storage": str(tmp_path), "warm": True, "objective": ""}
    worker.setup(worker.config)
    worker._workbench = lambda spec: Workbench.on(tmp_path, spec.scaling, shared=False)
    with full_disk(free):
        last = worker.step()
    assert (last["status"], last["done"]) == ("failed", True)
    assert last["failure"] == "disk full"
    assert "[Errno 27] File too large" in last["error"]
    if (folder / RESULT).exists():
        result = Result.model_validate_json((folder / RESULT).read_bytes())
        assert (result.failure, result.error) == ("disk full", last["error"])
    assert [path.name for path in folder.glob(".*")] == []
    assert worker.step()["status"] == "done", "once there is space"


def test_a_trial_reserves_a_worker_or_leaves_it_to_its_group() -> None:
    def resources(**fields: Any) -> dict[str, float]:
        spec = make_spec(scaling={"workers": 2, "cpus_per_worker": 3, "gpus_per_worker": 0.0}, **fields)
        config = {"spec": spec.model_dump(mode="json")}
        return dict(CellTrial.default_resource_request(config).required_resources)

    assert resources()["CPU"] == 3
    training = AdamW(steps=1).model_dump(mode="json")
    assert resources(system="seer", tree={"training": training}) == {"memory": 1}
