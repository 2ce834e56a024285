"""Saved views as tags; ``tests/sweeps/test_mlflow_pages.py`` opens them in MLflow's own pages."""

import base64
import json
import random
import zlib
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from sweeps.plan import Plan
from sweeps.run.review import review_of
from sweeps.tracking.views import LONGEST, Review, first_view, view_tags, views
from trainables.metrics import NAMES

SMALLEST_LIMIT = 5000  # characters of an experiment's tag before MLflow 3.16; a longer one is refused there

REVIEW = Review(
    metrics=("fd/a", "clip_score/b"),
    arms=("control", "noise=removed"),
    cells=frozenset({"0123"}),
    is_trained=True,
    search="5ea4c4",
    objectives=("fd/a", "clip_score/b"),
    searched=("attention.mu", "noise"),
)


def state(value: str) -> dict[str, Any]:
    """The state of the page in a view's tag, unpacked as MLflow's page does it."""
    packed = json.loads(value)["state"].removeprefix("deflate;")
    unpacked: dict[str, Any] = json.loads(zlib.decompress(base64.b64decode(packed)))
    return unpacked


def states(review: Review) -> dict[str, dict[str, Any]]:
    return {key.rpartition(".")[2]: state(value) for key, value in view_tags(review).items()}


def test_a_view_is_a_tag_with_a_fixed_id_and_a_name() -> None:
    tags = view_tags(REVIEW)
    assert list(tags) == [f"mlflow.sharedViewState.{name}" for name in ("arms", "seeds", "search", "training", "clips")]
    about = [json.loads(value) for value in tags.values()]
    assert [view["name"] for view in about] == ["Arms", "Seeds", "Search", "Training", "Clips"]
    times = [view["createdAt"] for view in about]
    assert times == sorted(times, reverse=True), "the menu lists the newest first"
    assert tags == view_tags(replace(REVIEW)), "the same study leaves the tags as they are"


def test_the_first_view_groups_by_arm_and_shows_each_difference_beside_its_metric() -> None:
    arms = states(REVIEW)["arms"]
    assert arms["searchFilter"] == "tags.current = 'true' and tags.stage = 'plan'"
    assert arms["groupBy"]["groupByKeys"] == [{"mode": "tag", "groupByData": "arm"}]
    assert arms["groupsExpanded"] == {"tag.arm.control": False, "tag.arm.noise=removed": False}
    keys = ("fd/a", "delta/fd/a", "clip_score/b", "delta/clip_score/b")
    assert arms["selectedColumns"] == [f"metrics.`{key}`" for key in keys]
    charted = [card["metricKey"] for card in arms["compareRunCharts"] if not card.get("deleted")]
    assert charted == ["delta/fd/a", "delta/clip_score/b", "fd/a", "clip_score/b"]


def test_a_search_has_parallel_coordinates_its_front_and_each_sampled_value() -> None:
    cards = [card for card in states(REVIEW)["search"]["compareRunCharts"] if not card.get("deleted")]
    assert [card["type"] for card in cards] == ["PARALLEL", "SCATTER", "SCATTER", "SCATTER"]
    assert cards[0]["selectedParams"] == ["sampled.attention.mu", "sampled.noise"]
    assert [(card["xaxis"]["key"], card["yaxis"]["key"]) for card in cards[1:]] == [
        ("fd/a", "clip_score/b"),
        ("sampled.attention.mu", "fd/a"),
        ("sampled.noise", "fd/a"),
    ]


@pytest.mark.parametrize("name", ["arms", "seeds", "search", "training", "clips"])
def test_every_chart_lies_in_a_section_and_every_metric_has_one_place(name: str) -> None:
    shown = states(REVIEW)[name]
    sections = [section["uuid"] for section in shown["compareRunSections"]]
    charts = shown["compareRunCharts"]
    assert len(sections) == len(set(sections))
    assert len({card["uuid"] for card in charts}) == len(charts)
    assert {card["metricSectionId"] for card in charts if not card.get("deleted")} <= set(sections)
    keys = [card["metricKey"] for card in charts if "metricKey" in card]
    assert sorted(keys) == sorted(set(keys))
    assert {"fd/a", "delta/fd/a", "loss"} <= set(keys)


def test_only_what_a_study_has_is_listed() -> None:
    bare = replace(REVIEW, is_trained=False, search="")
    assert [view.name for view in views(bare)] == ["Arms", "Seeds", "Clips"]
    assert view_tags(Review()) == {}


@pytest.mark.parametrize(
    ("uri", "link"),
    [
        ("sqlite:////runs/mlflow.db", "http://127.0.0.1:5000/#/experiments/7/runs?viewStateShareKey=arms"),
        ("http://host:80/", "http://host:80/#/experiments/7/runs?viewStateShareKey=arms"),
        ("postgresql://host/runs", ""),
        ("databricks", ""),
    ],
)
def test_the_link_of_the_first_view(uri: str, link: str) -> None:
    assert first_view(uri, "7", REVIEW) == link
    assert first_view(uri, "7", Review()) == ""


def test_a_plan_in_mlflow_s_names(planned: Callable[[str], Plan]) -> None:
    search = "search: {space: {attention.mu: {uniform: [0, 1]}}, trials_per_arm: 2, objectives: [fid, clip_score]}"
    plan = planned(f"ablations: [{{part: noise, action: REMOVE}}]\nseeds: 2\n{search}\n")
    assert plan.search is not None
    review = review_of(plan)
    assert review.arms == ("control", "noise=removed")
    assert review.metrics == tuple(metric.key for metric in plan.metrics)
    assert set(review.objectives) < set(review.metrics)
    assert (review.search, review.searched, review.seed) == (plan.search.identity, ("attention.mu",), 0)
    assert not review.is_trained
    assert [review.mark(plan.cells[0].id, ""), review.mark("other", "")] == ["true", "false"]
    assert [review.mark("a trial", review.search), review.mark("a trial", "older")] == ["true", "false"]


def test_views_of_a_large_study_fit_into_the_tags_of_older_servers() -> None:
    arms = tuple(f"attention.mu={value / 100}" for value in range(60))
    metrics = tuple(f"{name}/an_extractor_with_a_name" for name in NAMES)
    paths = tuple(f"part_{number}.setting" for number in range(12))
    large = replace(REVIEW, arms=arms, metrics=metrics, objectives=metrics[:3], searched=paths)
    assert max(map(len, view_tags(large).values())) < SMALLEST_LIMIT


def test_groups_of_very_many_arms_are_left_to_mlflow() -> None:
    draw = random.Random(0)
    many = replace(REVIEW, arms=tuple(f"arm_{draw.getrandbits(400):x}" for _ in range(400)))
    assert max(map(len, view_tags(many).values())) <= LONGEST
    assert states(many)["arms"]["groupsExpanded"] == {}
    assert states(many)["arms"]["groupBy"] == states(REVIEW)["arms"]["groupBy"]
