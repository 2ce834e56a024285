import pytest
import torch

from models.training import AdamW
from trainables.zero import schedule


@pytest.mark.parametrize(
    ("name", "rates"), [("cosine", [0.0, 0.5, 1.0, 0.75, 0.25]), ("constant_with_warmup", [0.0, 0.5, 1.0, 1.0, 1.0])]
)
def test_the_rate_rises_then_decays_or_stays(name: str, rates: list[float]) -> None:
    training = AdamW(steps=5, lr=1.0, warm_up=0.4, lr_scheduler=name)
    optimizer = torch.optim.AdamW([torch.nn.Parameter(torch.zeros(1))], lr=training.lr)
    scheduler, found = schedule(optimizer, training), []
    for _ in range(training.steps):
        found += scheduler.get_last_lr()
        optimizer.step()
        scheduler.step()
    assert found == pytest.approx(rates)
