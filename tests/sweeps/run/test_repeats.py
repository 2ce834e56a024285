"""Errors of a comparison of tuned arms, with the real samplers on synthetic values: one search each, and three.

Trials of an arm see ``y = f(x) + 0.02 e`` with ``f(x) = -sum_j w_j (x_j - 0.3)^2`` on its searched values in [0, 1] and
w = 1, 0.3, 0.1, 0.03. All arms have the same optimum, 0, so that any verdict is an error.
"""

from collections.abc import Callable
from dataclasses import replace
from math import sqrt
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from scipy import stats

from search_spaces import IntUniform, Uniform
from sweeps.plan import load
from sweeps.plan.search import SearchPlan
from sweeps.plan.spaces import ArmSpace
from sweeps.results.winners import winners
from sweeps.run.proposer import ArmSearch
from sweeps.statistics.combined import over_repeats
from sweeps.statistics.paired import ALPHA
from tests.factories import make_record
from tests.tolerance import STANDARD_ERRORS

STUDY = """\
name: repeats
system: zs2
base: shapes
metrics: [clip_score]
seeds: 1
arms:
  one: {noise.threshold: 0.1, noise.candidates: 3, noise.iterations: 5}
search:
  space:
    attention.mu: {uniform: [0, 1]}
    noise.threshold: {uniform: [0.001, 1]}
    noise.candidates: {int_uniform: [1, 1000]}
    noise.iterations: {int_uniform: [1, 1000]}
  trials_per_arm: 16
  repeats: 60
  confirm: {fresh_seeds: 8}
"""
WEIGHTS = (1.0, 0.3, 0.1, 0.03)
OF_TRIAL, OF_ARM, OF_RUN = 0.02, 0.005, 0.01
"""Standard deviations: of a trial, of an arm's own reaction to a fresh seed, of a single run at one."""
FRESH, STUDIES = 8, 4000

Pool = npt.NDArray[np.float64]


def true_value(space: ArmSpace, sample: dict[str, object]) -> float:
    """The value of f at a sample, whose numbers are laid on [0, 1]."""
    value = 0.0
    for weight, (path, domain) in zip(WEIGHTS, space.space.items(), strict=False):
        assert isinstance(domain, Uniform | IntUniform)
        x = (float(sample[path]) - domain.low) / (domain.high - domain.low)  # type: ignore[arg-type]
        value -= weight * (x - 0.3) ** 2
    return value


def pool(plan: SearchPlan, arm: str) -> Pool:
    """The true values of the winners of all repeats."""
    space, key = plan.space_of(arm), plan.objectives[0].key
    found = []
    for repeat in range(plan.repeats):
        noise, records = np.random.default_rng(repeat), {}
        search = ArmSearch(plan, space, {}, repeat=repeat)
        while (cell := search.ask()) is not None:
            score = true_value(space, cell.spec.sampled) + OF_TRIAL * noise.normal()
            records[cell.id] = make_record(cell, {key: score})
            search.tell(cell, records[cell.id])
        (best,) = winners(plan, space, records, 1, repeat)
        found.append(true_value(space, dict(best)))
    return np.array(found)


def verdicts(arm: Pool, control: Pool, repeats: int) -> tuple[float, float]:
    """Share of studies that call an arm better, and that call it worse, than a control with the same optimum."""
    rng, counts = np.random.default_rng(0), np.zeros(2)

    def values(of_winners: Pool) -> Pool:
        own = OF_ARM * rng.normal(size=FRESH) + OF_RUN * rng.normal(size=(repeats, FRESH))
        return rng.choice(of_winners, size=(repeats, 1)) + own

    for _ in range(STUDIES):
        a, c = values(arm), values(control)
        p = over_repeats(a, c).p_value if repeats > 1 else float(stats.ttest_rel(a[0], c[0]).pvalue)
        counts += (p <= ALPHA) * np.array([a.mean() > c.mean(), a.mean() < c.mean()])
    return float(counts[0] / STUDIES), float(counts[1] / STUDIES)


def most(level: float) -> float:
    """What the share of errors of a test of this level does not exceed by chance."""
    return level + STANDARD_ERRORS * sqrt(level * (1 - level) / STUDIES)


@pytest.mark.slow
def test_three_searches_hold_the_level_that_one_search_does_not(write: Callable[[str], Path]) -> None:
    plan = load(write(STUDY)).search
    assert plan is not None
    assert [plan.num_trials(space) for space in plan.arms] == [16, 4]
    four, one = pool(plan, "control"), pool(plan, "one")
    # One search each: the luck of the search is taken for an effect.
    assert sum(verdicts(four[:30], four[30:], 1)) > most(2 * ALPHA)
    assert sum(verdicts(one[:30], four, 1)) > most(2 * ALPHA)
    # As many trials for one value as for four: nearly all errors are for the arm with one.
    equal = pool(replace(plan, trials_per_arm=64), "one")
    better, worse = verdicts(equal, four, 1)
    assert better > most(2 * ALPHA)
    assert better > 10 * worse
    # Three searches each, trials in proportion.
    assert sum(verdicts(four, four, 3)) <= most(ALPHA)
    assert sum(verdicts(one, one, 3)) <= most(ALPHA)
    assert sum(verdicts(one, four, 3)) <= most(ALPHA)
    # A real difference of 10 standard deviations between searches is found.
    effect = 10 * float(four.std())
    assert verdicts(four + effect, four, 3)[0] > 0.9
