"""How often the table is wrong, by simulation: units, prompts, skewness, divergence, extensions, trends."""

from collections.abc import Callable
from math import sqrt
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from sweeps.plan import Plan, load
from sweeps.plan.units import LARGEST_DESIGN_EFFECT, LARGEST_OF_ONE_ARM
from sweeps.report.table import build
from sweeps.results.record import Record
from sweeps.statistics.bootstrap import bootstrap_t
from sweeps.statistics.families import Family, p_values
from sweeps.statistics.max_t import max_t
from sweeps.statistics.paired import ALPHA, intraclass_correlation, paired_difference, rounding, smallest_p
from sweeps.statistics.sequential import Looks, with_earlier
from sweeps.statistics.verdicts import Verdict
from sweeps.study.designs import trend
from tests.factories import make_record

pytestmark = pytest.mark.slow
Matrix = np.ndarray[tuple[int, ...], np.dtype[np.float64]]


def bound(level: float, studies: int) -> float:
    """What a share of so many studies exceeds once in 1,000 times, where its true value is at most the level."""
    return level + 3.1 * sqrt(level * (1 - level) / studies)


def sign_flip_p(differences: Matrix) -> float:
    return paired_difference(differences, np.zeros(len(differences))).p_value


# --------------------------------------------------------------------------------------------------------------- units


def clips_alike(seeds: int, clips: int, correlation: float, rng: np.random.Generator) -> Matrix:
    """Differences without an effect whose clips of one seed correlate."""
    of_seeds = rng.normal(size=(seeds, 1)) * sqrt(correlation)
    return of_seeds + rng.normal(size=(seeds, clips)) * sqrt(1 - correlation)


def t_test(values: Matrix) -> float:
    return float(stats.ttest_1samp(values.ravel(), 0).pvalue)


def test_at_the_largest_design_effect_clips_err_in_one_and_a_half_of_the_level() -> None:
    rng, studies, clips = np.random.default_rng(0), 3000, 8
    correlation = (LARGEST_DESIGN_EFFECT - 1) / (clips - 1)
    wrong = np.mean([t_test(clips_alike(8, clips, correlation, rng)) <= ALPHA for _ in range(studies)])
    assert wrong == pytest.approx(1.5 * ALPHA, abs=3.1 * sqrt(0.075 * 0.925 / studies))


@pytest.mark.parametrize(("seeds", "clips"), [(3, 8), (8, 8)])
@pytest.mark.parametrize("correlation", [0.0, 0.06, 0.2, 0.5])
def test_whichever_the_unit_the_error_stays_near_the_level(seeds: int, clips: int, correlation: float) -> None:
    rng, studies = np.random.default_rng([seeds, int(100 * correlation)]), 1000
    of_clips, chosen = 0, 0
    for _ in range(studies):
        d = clips_alike(seeds, clips, correlation, rng)
        is_alike = 1 + (clips - 1) * intraclass_correlation(d.tolist()) > LARGEST_DESIGN_EFFECT
        by_clip, by_seed = t_test(d) <= ALPHA, t_test(d.mean(axis=1)) <= ALPHA
        of_clips += by_clip
        chosen += by_seed if is_alike else by_clip
    print(f"{seeds} seeds, ICC {correlation}: clips {of_clips / studies:.3f}, chosen unit {chosen / studies:.3f}")
    assert chosen / studies <= bound(1.6 * ALPHA, studies)
    if correlation >= 0.2:
        assert of_clips / studies > 3 * ALPHA, "clips that are alike are no units"


def correlations(d: Matrix) -> Matrix:
    """Intra-class correlation of (..., seeds, clips), as ``intraclass_correlation`` computes it."""
    seeds, clips = d.shape[-2:]
    of_seeds = d.mean(axis=-1, keepdims=True)
    between = clips * of_seeds[..., 0].var(axis=-1, ddof=1)
    within = ((d - of_seeds) ** 2).sum(axis=(-1, -2)) / (seeds * (clips - 1))
    return np.asarray((between - within) / (between + (clips - 1) * within))


def smallest_p_of_arms(values: Matrix) -> Matrix:
    """Smallest p over the arms, of (studies, arms, units)."""
    return np.asarray(stats.ttest_1samp(values, 0, axis=-1).pvalue.min(axis=1))


@pytest.mark.parametrize(("arms", "seeds", "clips"), [(4, 3, 16), (8, 3, 8), (4, 6, 16), (8, 8, 8)])
@pytest.mark.parametrize(("alike", "correlation"), [(0, 0.0), (1, 0.1), (1, 0.2), (1, 0.3), (2, 0.2), (8, 0.06)])
def test_an_arm_whose_clips_are_alike_among_others_keeps_the_error_near_the_level(
    arms: int, seeds: int, clips: int, alike: int, correlation: float
) -> None:
    """Error of the family; with 3 seeds, no test over seeds can reach the level."""
    rng, studies = np.random.default_rng([arms, seeds, alike, int(100 * correlation)]), 1500

    def draw(of_arms: Matrix, clips: int) -> Matrix:
        of_clips = rng.normal(size=(studies, arms, seeds, clips)) - rng.normal(size=(studies, 1, seeds, clips))
        of_seeds = rng.normal(size=(studies, arms, seeds, 1))
        rho = of_arms[:, None, None]
        return np.asarray(np.sqrt((1 - rho) / 2) * of_clips + np.sqrt(rho) * of_seeds)

    independent = draw(np.zeros(arms), clips)
    of_clips = np.quantile(smallest_p_of_arms(independent.reshape(studies, arms, -1)), ALPHA)
    of_seeds = np.quantile(smallest_p_of_arms(draw(np.zeros(arms), 1)[..., 0]), ALPHA)
    d = draw(np.where(np.arange(arms) < alike, correlation, 0.0), clips)
    icc = correlations(d)
    assert icc[0, 0] == pytest.approx(intraclass_correlation(d[0, 0].tolist()))
    by_mean = 1 + (clips - 1) * icc.mean(axis=1) > LARGEST_DESIGN_EFFECT
    is_alike = by_mean | (1 + (clips - 1) * icc.max(axis=1) > LARGEST_OF_ONE_ARM)
    by_clip = smallest_p_of_arms(d.reshape(studies, arms, -1)) <= of_clips
    by_seed = (smallest_p_of_arms(d.mean(axis=-1)) <= of_seeds) & (smallest_p(seeds) <= ALPHA)
    chosen, before = (np.where(rule, by_seed, by_clip).mean() for rule in (is_alike, by_mean))
    print(f"{arms} arms, {seeds} x {clips}, {alike} with ICC {correlation}: {chosen:.3f}, by the mean {before:.3f}")
    assert chosen <= bound(1.6 * ALPHA, studies)
    assert alike != 1 or chosen < before, "the mean hides a single arm"


def test_prompts_that_are_dealt_out_are_units_and_the_first_ones_are_not() -> None:
    """A claim about prompts in general, from 64 prompts, 8 seeds and 8 clips; the effect varies between prompts."""
    rng, studies = np.random.default_rng(1), 1000
    by_seed_of_first, by_prompt = 0, 0
    for _ in range(studies):
        of_prompt = rng.normal(size=64)
        noise = 0.3 * rng.normal(size=(8, 8))
        first = of_prompt[:8] + noise
        dealt = of_prompt.reshape(8, 8) + noise
        by_seed_of_first += t_test(first.mean(axis=1)) <= ALPHA
        by_prompt += t_test(dealt) <= ALPHA
    print(f"error: seeds with the same 8 prompts {by_seed_of_first / studies:.3f}, prompts {by_prompt / studies:.3f}")
    assert by_seed_of_first / studies > 0.36
    assert by_prompt / studies <= bound(ALPHA, studies)


# --------------------------------------------------------------------------------------------------------- assumptions


@pytest.mark.parametrize(
    ("name", "units", "of_flips", "of_bootstrap"),
    [
        ("exponential", 8, 0.10, 0.09),
        ("exponential", 16, 0.08, 0.06),
        ("lognormal", 16, 0.15, 0.11),
        ("collapse", 8, 0.27, 0.23),
    ],
)
def test_skewed_differences_raise_the_error_and_less_so_by_the_bootstrap(
    name: str, units: int, of_flips: float, of_bootstrap: float
) -> None:
    rng, studies = np.random.default_rng(2), 500

    def draw() -> Matrix:
        if name == "exponential":
            return rng.exponential(size=units) - 1
        if name == "lognormal":
            return rng.lognormal(size=units) - np.exp(0.5)
        return np.where(rng.random(units) < 0.1, -9.0, 1.0) + rng.normal(size=units)  # a tenth of the seeds collapses

    samples = [draw() for _ in range(studies)]
    flips = np.mean([sign_flip_p(d) <= ALPHA for d in samples])
    bootstrap = np.mean([bootstrap_t([d])[0] <= ALPHA for d in samples])
    print(f"{name}, {units} units: sign flips {flips:.3f}, bootstrap {bootstrap:.3f}")
    assert flips == pytest.approx(of_flips, abs=3.1 * sqrt(of_flips * (1 - of_flips) / studies))
    assert bootstrap == pytest.approx(of_bootstrap, abs=3.1 * sqrt(of_bootstrap * (1 - of_bootstrap) / studies))
    assert bootstrap < flips


def test_the_bootstrap_holds_its_level_for_several_arms() -> None:
    rng, studies = np.random.default_rng(3), 500
    d = (rng.normal(size=(studies, 4, 12)) - rng.normal(size=(studies, 1, 12))) / sqrt(2)
    assert np.mean([min(bootstrap_t(study)) <= ALPHA for study in d]) <= bound(ALPHA, studies)


# ------------------------------------------------------------------------------------------------------------ outcomes


STUDY = """\
name: calibrated
system: zs2
base: shapes
metrics: [clip_score]
seeds: 16
unit: {{kind: seed, reason: the simulated studies have no clips}}
{more}ablations:
  - {{part: attention, action: REMOVE{hypothesis}}}
"""


Planned = Callable[..., Plan]


@pytest.fixture
def planned(write: Callable[[str], Path]) -> Planned:
    return lambda more, hypothesis="": load(write(STUDY.format(more=more, hypothesis=hypothesis)))


def recorded(plan: Plan, values: Matrix, diverged: Matrix) -> dict[str, Record]:
    """Records of arms with these values, (seeds, arms); cells that diverged have none."""
    key, places = plan.metrics[0].key, {arm.id: place for place, arm in enumerate(plan.arms)}
    records = {}
    for cell in plan.cells:
        at = cell.seed, places[cell.arm]
        lost = {"status": "failed", "error": "nan", "failure": "diverged"} if diverged[at] else {}
        records[cell.id] = make_record(cell, {} if lost else {key: float(values[at])}, **lost)
    return records


def worst_ones(share: float, rng: np.random.Generator) -> tuple[Matrix, Matrix]:
    """Values of two arms that are alike, and where they diverge: the second one in its worst share."""
    values = rng.normal(size=(16, 1)) * sqrt(0.5) + rng.normal(size=(16, 2)) * sqrt(0.5)
    diverged = np.zeros((16, 2), bool)
    diverged[:, 1] = values[:, 1] < stats.norm.ppf(share)
    return values, diverged


@pytest.mark.parametrize("share", [0.2, 0.6])
def test_an_equal_arm_whose_worst_seeds_diverge_is_not_called_different(share: float, planned: Planned) -> None:
    plan, rng, studies = planned(""), np.random.default_rng(4), 400
    key, called, of_survivors = plan.metrics[0].key, 0, 0
    for _ in range(studies):
        values, diverged = worst_ones(share, rng)
        row = build(plan, recorded(plan, values, diverged)).rows[1].metrics[key]
        called += row.verdict is not Verdict.INCONCLUSIVE
        of_survivors += sign_flip_p((values[:, 1] - values[:, 0])[~diverged[:, 1]]) <= ALPHA
    print(f"worst {share}: called different {called / studies:.3f}; by survivors alone {of_survivors / studies:.3f}")
    assert called / studies <= bound(ALPHA, studies)
    assert of_survivors > called


@pytest.mark.parametrize("share", [0.2, 0.6])
def test_ranked_last_an_arm_that_diverges_is_worse_and_never_better(share: float, planned: Planned) -> None:
    plan, rng, studies = planned("diverged: worst\n"), np.random.default_rng(4), 200
    key, verdicts = plan.metrics[0].key, []
    for _ in range(studies):
        verdicts.append(build(plan, recorded(plan, *worst_ones(share, rng))).rows[1].metrics[key].verdict)
    print({verdict: verdicts.count(verdict) for verdict in set(verdicts)})
    assert verdicts.count(Verdict.BETTER) / studies <= ALPHA / 2
    assert verdicts.count(Verdict.WORSE) > verdicts.count(Verdict.BETTER)


def test_an_arm_within_its_margin_is_rarely_said_to_contradict_equivalence(planned: Planned) -> None:
    hypothesis = "hypothesis: {claim: no matter, metric: clip_score, expect: equivalent}"
    plan = planned("margins: {clip_score: 0.5}\n", f", {hypothesis}")
    rng, studies, contradicted = np.random.default_rng(5), 200, 0
    for _ in range(studies):
        values = rng.normal(size=(16, 2)) * 0.3
        values[:, 1] += 0.45
        (claim,) = build(plan, recorded(plan, values, np.zeros((16, 2), bool))).claims
        contradicted += claim.outcome == "contradicted"
    assert contradicted / studies <= bound(ALPHA, studies)


# ---------------------------------------------------------------------------------------------------------- extensions


def test_a_study_that_is_extended_until_it_finds_something_keeps_its_level() -> None:
    """8 seeds, and 16 where these found nothing."""
    rng, studies = np.random.default_rng(6), 1500
    eight, sixteen = (Looks((tuple(range(n)),), (1.0,)) for n in (8, 16))
    naive, corrected, looks = 0, 0, with_earlier(sixteen, [eight])
    for _ in range(studies):
        d = rng.normal(size=16)
        at_looks = [Family(d[None, :n], (rounding(d[:n], np.zeros(n)),)) for n in (8, 16)]
        naive += min(sign_flip_p(d[:8]), sign_flip_p(d)) <= ALPHA
        corrected += p_values(at_looks, looks.shares, 1)[0].p_corrected <= ALPHA
    print(f"error: {naive / studies:.3f} uncorrected, {corrected / studies:.3f} corrected")
    assert naive / studies > 0.06
    assert corrected / studies <= bound(ALPHA, studies)


# -------------------------------------------------------------------------------------------------------------- trends


def test_a_trend_has_more_power_than_the_arms_of_an_ordered_set() -> None:
    """4 arms beside the control at 8 seeds, with effects that rise evenly to 1.2 standard deviations."""
    rng, studies = np.random.default_rng(7), 400
    contrast = trend("x", {str(k): float(k) for k in range(5)})
    assert contrast is not None
    weights = np.array([contrast.weights[str(k)] for k in range(5)])
    by_arms, by_trend = 0, 0
    for _ in range(studies):
        values = rng.normal(size=(5, 8)) / sqrt(2) + np.linspace(0, 1.2, 5)[:, None]
        by_arms += max_t(values[1:] - values[0])[-1] <= ALPHA
        by_trend += sign_flip_p(weights @ values) <= ALPHA
    print(f"power: last arm {by_arms / studies:.2f}, trend {by_trend / studies:.2f}")
    assert by_trend / studies > by_arms / studies + 0.1
    null = [sign_flip_p(weights @ (rng.normal(size=(5, 8)) / sqrt(2))) <= ALPHA for _ in range(1000)]
    assert np.mean(null) <= bound(ALPHA, 1000)
