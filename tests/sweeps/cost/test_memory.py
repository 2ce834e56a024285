"""plan --memory: model state per worker from configuration files alone."""

import json
import time
from pathlib import Path

import pytest
from typer.testing import CliRunner

from sweeps.__main__ import app

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
