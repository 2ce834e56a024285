"""plan --memory: model state per worker from configuration files alone."""

import json
import time
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from sweeps.__main__ import app
from sweeps.cost.memory import ArmMemory, arm_memories
from sweeps.plan import load
from tests.factories import ACROSS_STUDY

ROOT = Path(__file__).resolve().parents[3]
SEER = str(ROOT / "sweeps" / "seer" / "fine_tuning.yaml")
runner = CliRunner()


def memory(*options: str) -> str:
    done = runner.invoke(app, ["plan", SEER, "--memory", *options])
    assert done.exit_code == 0, done.output
    return done.stdout


@pytest.mark.slow
def test_the_published_model_is_counted_without_weights() -> None:
    arms = {arm["arm"]: arm for arm in json.loads(memory("--profile", "full", "--gpu-gib", "24", "--json"))}
    control = arms["control"]
    assert control["parameters"] == 859_520_964 + 223_251_840 + 171_008_256
    assert control["trained"] == 223_251_840 + 171_008_256
    assert control["state"]["weights"] == 2 * control["parameters"]
    assert control["state"]["moments"] == 8 * control["trained"] // 8
    assert control["state"]["others"] == 4 * (83_653_863 + 123_060_480)
    assert arms["trainable=all"]["trained"] == control["parameters"]


@pytest.mark.slow
def test_it_warns_when_the_state_alone_does_not_fit() -> None:
    assert "warning" not in memory("--profile", "full", "--gpu-gib", "24")
    small = memory("--profile", "full", "--gpu-gib", "4")
    assert (
        "trainable=all: needs 5.1 GiB for the model state, a GPU of 4 GiB has 4.0 GiB -> a higher ZeRO stage" in small
    )
    assert "control" not in small.partition("warning")[2].splitlines()[0]


@pytest.mark.slow
def test_without_a_gpu_of_known_size_it_says_what_to_give(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    assert "--gpu-gib SIZE" in memory("--profile", "full")
    assert "on this machine" in memory()


def test_a_system_without_training_is_refused() -> None:
    done = runner.invoke(app, ["plan", str(ROOT / "sweeps" / "quickstart.yaml"), "--memory"])
    assert done.exit_code == 2
    assert "zs2 is not trained" in done.output


def test_the_published_size_is_counted_in_seconds() -> None:
    began = time.process_time()
    memory("--profile", "full", "--gpu-gib", "24")
    assert time.process_time() - began < 60


def test_arms_of_several_systems_are_counted_on_their_own_bases(tmp_path: Path) -> None:
    def of(text: str) -> dict[str, ArmMemory]:
        (tmp_path / "study.yaml").write_text(text)
        return {memory.arm: memory for memory in arm_memories(load(tmp_path / "study.yaml"), gpu=False)}

    across = of(ACROSS_STUDY)
    seer = of(
        "name: s\nsystem: seer\nbase: shapes\nmetrics: [fvd]\nseeds: 1\ntraining: {steps: 6, global_batch_size: 2}\n"
        "control: {references: 1}\nablations: [{part: text_decomposer, action: REMOVE}]\n"
    )
    assert list(across) == ["control", "position=removed", "seer"]
    assert across["seer"] == replace(seer["control"], arm="seer")
    assert across["control"].parameters != across["seer"].parameters
