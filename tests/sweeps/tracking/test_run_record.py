"""What MLflow has of a cell: its name; of measures between sets floors, corrected intervals and their numbers."""

import json

import pytest

from sweeps.tracking import run_record
from tests.factories import make_result, make_spec
from trainables.trial_spec import Floor, Score, Uncertainty

NUMBERS = {"clips": 8, "frames": 8, "references": 2048, "num_features": 64, "ddof": 1}
FLOOR = Floor(mean=420.0, sd=70.0, draws=8)


def scored(corrected: float | None) -> Score:
    uncertainty = Uncertainty(corrected=corrected, error=1.0, low=3.0, high=7.0, blocks=8)
    parameters = {**NUMBERS, "n_real": 2048, "libraries": {}}
    return Score(
        value=5.0, uncertainty=uncertainty, floor=FLOOR, direction="min", surrogate=True, parameters=parameters
    )


def test_nothing_uncorrected_is_an_interval() -> None:
    result = make_result(make_spec(), scores={"fd/a": scored(4.0), "fd/b": scored(None)})
    logged = {key: value for key, value in run_record.metrics(result).items() if key.startswith("fd/")}
    assert logged == {
        "fd/a": 5.0, "fd/a.floor": 420.0, "fd/a.low": 3.0, "fd/a.high": 7.0, "fd/b": 5.0, "fd/b.floor": 420.0
    }  # fmt: skip


def test_numbers_are_tags_of_the_metric() -> None:
    plain = Score(value=1.0, direction="max", surrogate=False, parameters={"clips": 8})
    tags = run_record.outcome(make_result(make_spec(), scores={"fd/a": scored(4.0), "clip_score/b": plain}))
    found = {key: json.loads(value) for key, value in tags.items() if key.startswith("eval.")}
    assert found == {"eval.fd/a": {**NUMBERS, "floor": 420.0, "floor_sd": 70.0}}


@pytest.mark.parametrize(
    ("fields", "name"),
    [
        ({}, "control/s0"),
        ({"stage": "search", "trial": 7}, "control/t007"),
        ({"stage": "search", "trial": 7, "repeat": 1}, "control/r2/t007"),
        ({"stage": "confirm", "trial": 0, "seed": 100}, "control #1/s100"),
        ({"stage": "confirm", "trial": 0, "seed": 100, "repeat": 2}, "control r3 #1/s100"),
        ({"stage": "path", "trial": 1, "seed": 100}, "control path 1/s100"),
    ],
)
def test_names_tell_stage_repeat_and_seed(fields: dict[str, object], name: str) -> None:
    assert run_record.name(make_spec(**fields)) == name
