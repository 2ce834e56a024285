"""The studies that ship: what each resolves to is kept, so that a changed default is a change to be read."""

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

import sweeps
from sweeps.plan import Plan, load, load_blocks
from sweeps.study.schema import schema

PACKAGE = Path(sweeps.__file__).parent
STUDIES = sorted(
    path.relative_to(PACKAGE).as_posix() for path in PACKAGE.rglob("*.yaml") if path.parent.name != "profiles"
)
GOLDEN = Path(__file__).parent / "golden"


def resolved(plan: Plan) -> dict[str, Any]:
    """What a study means, without anything that depends on the machine."""
    spec = plan.cells[0].spec
    return {
        "study": plan.study.name,
        "system": plan.study.system,
        "base": plan.study.base,
        "data": spec.data.model_dump(mode="json"),
        "protocol": spec.protocol.model_dump(mode="json"),
        "precision": spec.precision,
        "metrics": [metric.key for metric in plan.metrics],
        "seeds": list(plan.study.seeds),
        "cells": len(plan.cells),
        "margins": plan.study.margins,
        "search": searched(plan),
        "notes": list(plan.notes),
        "arms": [
            {"id": arm.id, "changes": dict(arm.changes), "tree": arm.system.model_dump(mode="json")}
            for arm in plan.arms
        ],
    }


def searched(plan: Plan) -> dict[str, Any] | None:
    """What a study's search means."""
    search = plan.search
    if search is None:
        return None
    return {
        "search_sampler": search.search_sampler,
        "objectives": {objective.key: objective.direction for objective in search.objectives},
        "seed": search.seed,
        "points": list(search.points),
        "arms": {
            space.arm.id: {path: domain.written() for path, domain in space.space.items()} for space in search.arms
        },
        "proposed": search.proposed(),
        "confirm_seeds": list(search.confirm_seeds),
    }


def compare_or_update(path: Path, text: str, update: bool) -> None:
    """Compares with a golden file, or renews it where pytest was given ``--update``."""
    if update:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    assert path.is_file(), f"no golden file {path}: make it with pytest --update"
    assert text == path.read_text(encoding="utf-8"), f"{path} differs: look at it with pytest --update and git diff"


def test_the_studies_are_there() -> None:
    assert STUDIES == [
        "aid/adapters.yaml",
        "aid/baselines.yaml",
        "aid/complex_motion.yaml",
        "aid/condition.yaml",
        "aid/content_types.yaml",
        "aid/freezing.yaml",
        "aid/length.yaml",
        "aid/smoke.yaml",
        "aid/state_accuracy.yaml",
        "aid/states.yaml",
        "aid/training_search.yaml",
        "aid/zero_init.yaml",
        "exvideo/conv_x_position.yaml",
        "exvideo/identity_conv.yaml",
        "exvideo/length.yaml",
        "exvideo/position.yaml",
        "exvideo/recipe.yaml",
        "exvideo/smoke.yaml",
        "exvideo/training_search.yaml",
        "quickstart.yaml",
        "seer/attention_kinds.yaml",
        "seer/decomposer_granularity.yaml",
        "seer/fine_tuning.yaml",
        "seer/references.yaml",
        "seer/released_details.yaml",
        "seer/smoke.yaml",
        "seer/spatial_temporal_attention.yaml",
        "seer/text_decomposer.yaml",
        "seer/training_search.yaml",
        "zs2/component_search.yaml",
        "zs2/components.yaml",
        "zs2/kl_threshold.yaml",
        "zs2/motion_search.yaml",
        "zs2/noise_search.yaml",
        "zs2/temporal_momentum.yaml",
    ]


@pytest.mark.parametrize("study", STUDIES)
def test_what_a_study_resolves_to(study: str, request: pytest.FixtureRequest) -> None:
    for block, plan in load_blocks(PACKAGE / study).items():
        text = json.dumps(resolved(plan), indent=2, ensure_ascii=False) + "\n"
        golden = GOLDEN / study.replace(".yaml", f".{block}.json" if block else ".json")
        compare_or_update(golden, text, request.config.getoption("--update"))


def test_the_schema_is_current(request: pytest.FixtureRequest) -> None:
    text = json.dumps(schema(), indent=2, ensure_ascii=False) + "\n"
    compare_or_update(PACKAGE / "study.schema.json", text, request.config.getoption("--update"))


@pytest.mark.parametrize("study", STUDIES)
def test_a_study_names_the_schema_and_fits_it(study: str) -> None:
    path = PACKAGE / study
    head = path.read_text(encoding="utf-8").splitlines()[0]
    prefix = "# yaml-language-server: $schema="
    assert head.startswith(prefix)
    written = json.loads((path.parent / head.removeprefix(prefix)).read_text(encoding="utf-8"))
    jsonschema.validate(yaml.safe_load(path.read_text(encoding="utf-8")), written)


@pytest.mark.parametrize(
    "wrong",
    [
        {"sedes": 3},
        {"seeds": 0},
        {"seeds": [1, 1]},
        {"metrics": ["clip_scor"]},
        {"system": "zs3"},
        {"ablations": [{"part": "noise", "action": "remove"}]},
        {"protocol": {"step": 1}},
        {"profiles": {"full": {"sedes": 3}}},
        {"profiles": {"full": {"from": 3}}},
        {"blocks": {"short": {"sedes": 3}}},
        {"blocks": {"short": {"blocks": {}}}},
        {"name": "a/b"},
        {"search": {}},
        {"search": {"space": "zs2_moton"}},
        {"search": {"space": {}}},
        {"search": {"space": {"attention.mu": {"unifrom": [0, 1]}}}},
        {"search": {"space": {"attention.mu": {"uniform": [0, 1], "choice": [0, 1]}}}},
        {"search": {"space": "zs2_motion", "trials": 3}},
        {"search": {"space": "zs2_motion", "search_sampler": "grid"}},
        {"search": {"space": "zs2_motion", "objectives": {"fid": "least"}}},
        {"search": {"space": "zs2_motion", "objectives": ["fidd"]}},
        {"search": {"space": "zs2_motion", "trial_scheduler": {"kind": "hyperband"}}},
        {"search": {"space": "zs2_motion", "confirm": {"top": 0}}},
        {"margins": {"fid": 0}},
        {"margins": {"fidd": 1}},
    ],
)
def test_the_schema_refuses_what_the_reader_refuses(wrong: dict[str, Any]) -> None:
    sound = {"name": "x", "system": "zs2", "base": "shapes", "metrics": ["fid"], "seeds": 1, "data": "shapes"}
    whole = schema()
    jsonschema.validate(sound, whole)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({**sound, **wrong}, whole)


def test_temporal_momentum_asks_plan_001() -> None:
    plan = load(PACKAGE / "zs2/temporal_momentum.yaml")
    mu = {arm.id: arm.system.model_dump()["attention"]["mu"] for arm in plan.arms}
    assert sorted(mu.values()) == [0, 0.6, 0.8, 0.98, 1]
    assert mu["control"] == 0.98
    assert [metric.family for metric in plan.metrics][:2] == ["clip_score", "temporal_consistency"]
    assert (len(plan.study.seeds), plan.cells[0].spec.protocol.clips) == (16, 8)


def test_components_asks_plan_004() -> None:
    plan = load(PACKAGE / "zs2/components.yaml")
    kinds = {arm.id: [part["kind"] for part in arm.system.model_dump().values()] for arm in plan.arms}
    assert kinds == {
        "control": ["two_stage", "momentum"],
        "noise=removed": ["removed", "momentum"],
        "attention=removed": ["two_stage", "removed"],
        "neither": ["removed", "removed"],
    }
    assert [metric.family for metric in plan.metrics] == ["clip_score", "fid"]
    assert (len(plan.study.seeds), plan.cells[0].spec.protocol.clips) == (16, 8)


def test_noise_search_asks_plan_001() -> None:
    plan = load(PACKAGE / "zs2/noise_search.yaml")
    kinds = {arm.id: arm.system.model_dump()["noise"]["kind"] for arm in plan.arms}
    assert list(kinds.values()) == ["two_stage", "random_search", "analytic"]
    assert [metric.family for metric in plan.metrics][:2] == ["clip_score", "video_coherence"]
    assert (len(plan.study.seeds), plan.cells[0].spec.protocol.clips) == (16, 8)


def test_kl_threshold_asks_plan_004() -> None:
    plan = load(PACKAGE / "zs2/kl_threshold.yaml")
    thresholds = {arm.id: arm.system.model_dump()["noise"]["threshold"] for arm in plan.arms}
    assert sorted(thresholds.values()) == [0.001, 0.01, 0.1, 1.0]
    assert thresholds["control"] == 0.01
    assert [metric.family for metric in plan.metrics] == ["clip_score", "fid"]
    assert (len(plan.study.seeds), plan.cells[0].spec.protocol.clips) == (16, 8)


@pytest.mark.parametrize(
    ("study", "space"),
    [
        ("motion_search", ["attention.mu", "noise.threshold"]),
        ("component_search", ["attention", "noise", "attention.mu", "noise.threshold"]),
    ],
)
def test_searches_trade_consistency_against_motion(study: str, space: list[str]) -> None:
    plan = load(PACKAGE / f"zs2/{study}.yaml")
    assert plan.search is not None
    assert [list(arm.space) for arm in plan.search.arms] == [space]
    assert [(goal.key.split("/")[0], goal.direction) for goal in plan.search.objectives] == [
        ("temporal_consistency", "max"),
        ("motion_magnitude", "max"),
    ]
    assert plan.search.space_of("control").holds(plan.search.points[0])
    published = plan.search.trial("control", 0, plan.search.points[0])
    assert published.spec.tree == plan.cells[0].spec.tree, "the method as published is tried first"
    assert not set(plan.search.confirm_seeds) & {*plan.study.seeds, plan.search.seed}
    assert len(plan.search.confirm_seeds) == 8
    assert len(plan.cells) + plan.search.num_proposed < 100, "minutes on a laptop, at 6 s a cell"


def test_the_quickstart_is_small_and_moves() -> None:
    plan = load(PACKAGE / "quickstart.yaml")
    assert [arm.id for arm in plan.arms] == [
        "control",
        "attention=removed",
        "noise=removed",
        "attention.mu=0.6",
        "attention.mu=0.8",
    ]
    assert len(plan.cells) == 15
    assert plan.arms[0].system.model_dump()["noise"]["threshold"] == 0.1
