"""The quickstart study as a plain Ray Tune script, as a careful user would write it without the engine.

A function trainable that builds the pipeline, samples and scores; a grid over arms and seeds; Ray's own MLflow callback
with a database; defaults of Ray Tune otherwise. It does less than the engine, which favours it: clips are not saved,
runs cannot be resumed, and no differences are computed. Prints the means of the arms as JSON.
"""

import json
import sys
from pathlib import Path
from typing import Any

import ray
from ray import tune
from ray.air.integrations.mlflow import MLflowLoggerCallback

ARMS: dict[str, dict[str, Any]] = {
    "control": {},
    "attention=removed": {"attention": "removed"},
    "noise=removed": {"noise": "removed"},
    "attention.mu=0.6": {"attention.mu": 0.6},
    "attention.mu=0.8": {"attention.mu": 0.8},
}
SEEDS = [0, 1, 2]
METRICS = ["clip_score", "temporal_consistency", "motion_magnitude"]


def sample_and_score(config: dict[str, Any]) -> None:
    """Build the pipeline with the arm's changes, sample the seed's clips, report their scores."""
    # Imported here, since the driver does not need them.
    from models.backbones import load_base
    from models.bases import find_base, read_card
    from models.streams import Streams
    from models.zs2 import ZS2
    from trainables.data import ShapesData
    from trainables.evaluate import to_pixels
    from trainables.metrics import Extractors, resolve
    from trainables.metrics.score import Scorer

    ref = find_base("shapes")
    card = read_card(ref)
    system = ZS2().edit({"noise.threshold": 0.1}).edit(ARMS[config["arm"]])
    model = system.build(load_base(ref))
    prompts = ShapesData().prompts(Streams(config["seed"]), card.protocol.clips)
    clips = to_pixels(model.sample(prompts, Streams(config["seed"]), card.protocol).video)
    metrics = [resolve(family, card, Extractors(), "shapes") for family in METRICS]
    scores = Scorer(metrics).score(clips, prompts)
    tune.report({metric.family: scores[metric.key].value for metric in metrics})


def main(storage: Path) -> None:
    """Run the grid and print each arm's means."""
    ray.init()
    gpus = min(1, int(ray.cluster_resources().get("GPU", 0)))
    tracking = MLflowLoggerCallback(tracking_uri=f"sqlite:///{storage / 'mlflow.db'}", experiment_name="quickstart")
    results = tune.Tuner(
        tune.with_resources(sample_and_score, {"CPU": 1, "GPU": gpus}),
        param_space={"arm": tune.grid_search(list(ARMS)), "seed": tune.grid_search(SEEDS)},
        run_config=tune.RunConfig(name="quickstart", storage_path=str(storage), callbacks=[tracking]),
    ).fit()
    if results.num_errors:
        sys.exit(f"{results.num_errors} trials failed: {results.errors[0]}")
    means = results.get_dataframe().groupby("config/arm")[METRICS].mean()
    print(json.dumps(means.to_dict("index")))


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve())
