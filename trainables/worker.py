"""Ray Train's entry point on every rank; imports no torch, since the trial that starts a worker group imports it."""

from collections.abc import Mapping
from typing import Any


def train_loop_per_worker(config: Mapping[str, Any]) -> None:
    """Train a cell on this rank; the first rank then samples its clips, scores them and writes the result.

    Args:
        config: ``{"spec": TrialSpec.model_dump(mode="json"), "storage": folder, "warm": bool, "train": bool}``;
            ``train`` is false if an earlier attempt has finished the training.
    """
    from pathlib import Path

    from trainables.train import run_rank
    from trainables.trial_spec import TrialSpec

    spec = TrialSpec.model_validate(config["spec"])
    run_rank(spec, Path(config["storage"]), warm=config["warm"], needs_training=config["train"])
