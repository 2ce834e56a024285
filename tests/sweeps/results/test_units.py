"""Units once there are results: seeds where clips of a seed are alike, in all arms together or in one of them."""

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest

from sweeps.plan import Plan, load
from sweeps.plan.units import LARGEST_DESIGN_EFFECT, LARGEST_OF_ONE_ARM, Units
from sweeps.report.table import build
from sweeps.results.record import Record, prompt_hash
from tests.factories import make_record

STUDY = """\
name: u
system: zs2
base: shapes
metrics: [clip_score]
seeds: 8
protocol: {clips: 8}
ablations:
  - {part: attention.mu, action: VALUES, values: [0.2, 0.4, 0.6, 0.8]}
"""


@pytest.fixture
def planned(write: Callable[[str], Path]) -> Callable[[str], Plan]:
    return lambda more="": load(write(STUDY + more))


def records(plan: Plan, of_seeds: Mapping[str, float]) -> dict[str, Record]:
    """Records of arms without an effect; in some arms what all clips of a seed share has this standard deviation."""
    key, found = plan.metrics[0].key, {}
    for cell in plan.cells:
        rng = np.random.default_rng([cell.seed, *cell.arm.encode()])
        own = rng.normal(size=8)
        # Without what a seed's clips have in common by chance.
        values = (own - own.mean() + own.mean() * 0.5 + of_seeds.get(cell.arm, 0.0) * rng.normal()).tolist()
        at = [(8 * cell.seed + k) % len(plan.prompts) for k in range(8)] if plan.prompts else []
        prompts = [prompt_hash(plan.prompts[place]) for place in at]
        found[cell.id] = make_record(cell, {key: sum(values) / 8}, per_clip={key: values}, prompts=prompts)
    return found


def unit_of(plan: Plan, of_seeds: Mapping[str, float]) -> Units:
    return build(plan, records(plan, of_seeds)).inference.units[plan.metrics[0].key]


def test_one_arm_whose_clips_are_alike_is_not_hidden_by_the_others(planned: Callable[..., Plan]) -> None:
    plan = planned()
    none, one = unit_of(plan, {}), unit_of(plan, {plan.arms[2].id: 0.7})
    assert (none.kind, none.reason) == ("clip", "drawn per clip")
    assert (one.kind, one.reason) == ("seed", "alike")
    assert one.design_effect < LARGEST_DESIGN_EFFECT, "their mean says nothing of it"
    assert one.largest_effect > LARGEST_OF_ONE_ARM
    caption = build(plan, records(plan, {plan.arms[2].id: 0.7})).caption
    assert f"(design effect {one.design_effect:.1f}, largest {one.largest_effect:.1f})" in caption
    assert "above a design effect of 1.21, or 2 in one arm, seeds are the units" in caption


@pytest.mark.parametrize(
    ("number", "reason", "why"),
    [
        (64, "alike", "clips of a seed are alike"),
        (
            12,
            "alike at these prompts",
            "clips of a seed are alike; prompts recur, so differences are about these prompts",
        ),
    ],
)
def test_listed_prompts_are_no_units_where_clips_of_a_seed_are_alike(
    number: int, reason: str, why: str, planned: Callable[..., Plan]
) -> None:
    listed = ", ".join(f"prompt {k}" for k in range(number))
    plan = planned(f"data: {{layout: prompts, prompts: [{listed}]}}\n")
    alike = dict.fromkeys((arm.id for arm in plan.arms[1:]), 0.9)
    assert unit_of(plan, {}).kind == "prompt"
    assert (unit_of(plan, alike).kind, unit_of(plan, alike).reason) == ("seed", reason)
    assert f"Unit seed ({why}): {plan.metrics[0].key}." in build(plan, records(plan, alike)).caption
    stated = planned(
        f"data: {{layout: prompts, prompts: [{listed}]}}\nunit: {{kind: prompt, reason: they are what it is about}}\n"
    )
    assert unit_of(stated, alike).kind == "prompt"
    assert "seeds are the units" not in build(stated, records(stated, alike)).caption
