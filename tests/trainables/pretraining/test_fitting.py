"""The training loop and its clock."""

import pytest
import torch
from torch import nn

from trainables.pretraining.fitting import Clock, fit


def test_fit_reaches_the_minimum_and_leaves_the_model_in_evaluation_mode() -> None:
    torch.manual_seed(0)
    model, x = nn.Linear(3, 1), torch.randn(64, 3)
    target = x @ torch.tensor([[1.0], [-2.0], [0.5]]) + 0.3
    clock = Clock({"line": 1.0})
    clock.start("line")
    fit(
        model, lambda _: (model(x) - target).square().mean(), steps=400, lr=0.05, clock=clock, weight_decay=0.0, ema=0.9
    )
    clock.stop()
    assert (model(x) - target).square().mean().item() < 1e-3
    assert not model.training
    assert clock.wall["line"] > 0
    assert clock.cpu["line"] > 0


def test_fit_keeps_averaged_weights() -> None:
    model = nn.Linear(1, 1, bias=False)
    nn.init.zeros_(model.weight)
    clock = Clock({"line": 1.0})
    clock.start("line")
    fit(model, lambda _: -model.weight.sum(), steps=20, lr=0.1, clock=clock, weight_decay=0.0, ema=0.99)
    averaged = model.weight.item()
    nn.init.zeros_(model.weight)
    fit(model, lambda _: -model.weight.sum(), steps=20, lr=0.1, clock=clock, weight_decay=0.0, ema=0.0)
    assert 0 < averaged < model.weight.item()


def test_the_clock_forecasts_from_the_pace_so_far(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    now = [0.0]
    monkeypatch.setattr("trainables.pretraining.fitting.time.perf_counter", lambda: now[0])
    clock = Clock({"one": 100.0, "two": 50.0})
    clock.start("one")
    now[0] = 100.0  # half of it took as long as all of it was expected to take
    clock.progress(0.5, "words")
    assert "one  50%  words  3.3 min left in total" in capsys.readouterr().out
    now[0] = 101.0
    clock.progress(0.51, "words")
    assert capsys.readouterr().out == ""
