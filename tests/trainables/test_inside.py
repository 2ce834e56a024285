"""Metrics of what a cell's model reads and makes, from the cell to its scores."""

from collections.abc import Mapping
from pathlib import Path

import pytest

from models.aid import AID
from tests.factories import make_spec
from trainables.cell_files import save_weights
from trainables.evaluate import Workbench, run_cell
from trainables.trial_spec import Result

METRICS = ("state_accuracy", "state_motion", "condition_frame", "condition_phase")


def scored(changes: Mapping[str, object], folder: Path, metrics: tuple[str, ...] = METRICS) -> Result:
    """Score a cell of AID whose training changed nothing."""
    training = {"steps": 1, "clips": 4}
    tree = AID().edit({"trainable": "removed", "guidance": "removed", "training": training, **changes})
    spec = make_spec(
        system="aid",
        tree=tree.model_dump(mode="json"),
        base="shapes_video",
        data={"layout": "shapes", "references": 16},
        protocol={"clips": 8, "frames": 8, "steps": 1, "guidance": 1.0, "height": 32, "width": 32},
        metrics=metrics,
    )

    def train() -> bool:
        save_weights(folder / spec.cell_id, {})
        return True

    result = run_cell(spec, folder / spec.cell_id, Workbench(folder / "references", None, folder / "states"), train)
    assert result is not None
    assert result.error == ""
    return result


def values(result: Result) -> dict[str, float]:
    return {key.partition("/")[0]: score.value for key, score in result.scores.items()}


def test_states_are_compared_with_the_true_frames(tmp_path: Path) -> None:
    oracle = values(scored({"states": {"kind": "oracle", "number": 8}}, tmp_path))
    assert oracle["state_accuracy"] == oracle["state_motion"] == 1
    predicted = scored({"states": {"kind": "llava", "number": 8}}, tmp_path)
    assert 0.8 < values(predicted)["state_accuracy"] <= 1
    assert predicted.statistics["states_repaired"] == 0
    shuffled = values(scored({"states": {"kind": "shuffled", "number": 8}}, tmp_path))
    assert shuffled["state_accuracy"] < values(predicted)["state_accuracy"]
    assert values(scored({"states": "removed"}, tmp_path))["state_accuracy"] == 0


def test_what_a_probe_reads_is_scored_with_its_chance(tmp_path: Path) -> None:
    result = scored({}, tmp_path, ("condition_frame",))
    (score,) = result.scores.values()
    assert score.parameters["chance"] == pytest.approx(1 / 8)
    assert score.per_frame is not None
    assert len(score.per_frame) == 8
    without = scored({"condition": "removed"}, tmp_path, ("condition_frame",))
    assert values(without)["condition_frame"] == pytest.approx(1 / 8), "nothing can be read"


def test_stored_clips_are_scored_later_by_what_the_model_makes(tmp_path: Path) -> None:
    first = scored({}, tmp_path, ("motion_magnitude",))
    later = scored({}, tmp_path, ("motion_magnitude", *METRICS))
    assert later.cell_id == first.cell_id
    assert later.seconds["sample"] == first.seconds["sample"], "nothing was sampled again"
    assert set(values(later)) == {"motion_magnitude", *METRICS}
