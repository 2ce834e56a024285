"""Sentences on how the numbers of a table were computed and what limits them."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from statistics import median

from sweeps.plan import Plan
from sweeps.plan.units import LARGEST_DESIGN_EFFECT, LARGEST_OF_ONE_ARM, Reason
from sweeps.results.arm_values import ArmValues
from sweeps.results.comparison import ArmRow, Summary
from sweeps.results.content import of_other_data
from sweeps.results.divergence import divergences
from sweeps.results.pairing import Inference
from sweeps.results.record import Record
from sweeps.results.search import SearchFindings, winner
from sweeps.results.significance import family_of
from sweeps.results.stopping import ReachedSeeds
from sweeps.statistics.bootstrap import SAMPLES
from sweeps.statistics.paired import ALPHA, CONFIDENCE, EXACT_PAIRS, FLIPS
from sweeps.study.words import counted
from trainables.data.content import changes
from trainables.metrics import MetricKey, is_context
from trainables.provenance import commit


def caption(
    plan: Plan,
    rows: Sequence[ArmRow],
    arms: Sequence[ArmValues],
    code: Mapping[str, str],
    reached: ReachedSeeds,
    inference: Inference,
    search: SearchFindings | None,
) -> list[str]:
    """Describe the table of arms: seeds, clips, units, intervals, test, metrics and code, one sentence each."""
    newest = " and ".join(dict.fromkeys(filter(None, code.values()))) or "unknown"
    return [
        _intervals(plan, arms, reached, inference),
        *_units(plan, inference),
        *_looks(reached),
        *significance(rows, plan.metrics, inference),
        *_by_chance(plan, rows, inference, search),
        *_diverged(plan, arms, inference),
        *_equivalence(plan),
        *_drawn_orders(plan),
        *_groups(plan),
        *dict.fromkeys(f"{metric.key}: {metric.words}.{_numbers(metric.key, arms)}" for metric in plan.metrics),
        f"Results computed with code {newest}; table written at commit {commit()}.",
    ]


def _intervals(plan: Plan, arms: Sequence[ArmValues], reached: ReachedSeeds, inference: Inference) -> str:
    protocol, level = plan.cells[0].spec.protocol, f"{CONFIDENCE:.0%}"
    done = [sum(record.status == "done" for record in arm.records.values()) for arm in arms]
    least, most = min(done), max(done)
    kinds = dict.fromkeys(unit.kind for unit in inference.units.values())
    seeds = counted(most, "seed") if least == most else f"{least} to {counted(most, 'seed')}"
    return (
        f"Means over {seeds} of {protocol.clips} clips x {protocol.frames} frames, with {level} t intervals; Δ is arm "
        f"minus control, paired by {' or '.join(kinds)}, with its {level} paired t interval, "
        f"{'widened for the repeated analyses' if reached.looks else 'not corrected for the number of arms'}."
    )


_WHY: dict[Reason, str] = {
    "trained": "an arm is trained",
    "set": "a measure of a set of clips",
    "drawn per clip": "prompts are drawn per clip",
    "listed prompts": "prompts are listed",
    "few prompts": "the listed prompts are too few to be units",
    "alike": "clips of a seed are alike",
    "alike at these prompts": "clips of a seed are alike; prompts recur, so differences are about these prompts",
    "diverged": "cells diverge as a whole, and count as the worst",
    "no values by clip": "results have no values by clip",
}


def _units(plan: Plan, inference: Inference) -> Iterator[str]:
    """State the unit of each metric, with its reason, and how much alike the clips of a seed are."""
    groups: dict[tuple[str, str], list[str]] = {}
    for key, unit in inference.units.items():
        why = plan.study.unit.reason if plan.study.unit and unit.reason == "study" else _WHY.get(unit.reason, "")
        groups.setdefault((unit.kind, why), []).append(key)
    for (kind, why), keys in groups.items():
        yield f"Unit {kind} ({why}): {', '.join(keys)}."
    alike = [
        f"{key} {unit.correlation:.2f} (design effect {unit.design_effect:.1f}, largest {unit.largest_effect:.1f})"
        for key, unit in inference.units.items()
        if unit.correlation is not None
    ]
    if alike:
        limits = f"{LARGEST_DESIGN_EFFECT}, or {LARGEST_OF_ONE_ARM:g} in one arm"
        rule = "" if plan.study.unit else f"; above a design effect of {limits}, seeds are the units"
        yield f"Intra-class correlation of the differences within seeds: {', '.join(alike)}{rule}."


def significance(rows: Sequence[ArmRow], metrics: Sequence[MetricKey], inference: Inference) -> Iterator[str]:
    """Describe the test, its correction, the smallest p it can reach, and the gain from pairing.

    Args:
        rows: Rows of the table.
        metrics: Metrics of the table.
        inference: Units, analyses and correction.
    """
    of_metric = {metric.key: _tested(rows, metric.key) for metric in metrics}
    if not any(of_metric.values()):
        yield "Nothing is compared: no arm has a value of a unit of which the control has one."
        return
    yield f"p: two-sided {_TESTS[inference.test]}, {_correction(inference)}."
    by_sentence: dict[str, list[str]] = {}
    for metric in metrics:
        if summaries := of_metric[metric.key]:
            family, families = family_of(metric, metrics, inference)
            comparisons = sum(len(of_metric[key]) for key in family) if inference.correction == "holm" else 1
            by_sentence.setdefault(_smallest_p(summaries, comparisons * families), []).append(metric.key)
    for sentence, keys in by_sentence.items():
        prefix = f"{', '.join(keys)}: " if len(by_sentence) > 1 else ""
        yield f"{prefix}{sentence}"
    correlations = ", ".join(filter(None, (_correlation(key, summaries) for key, summaries in of_metric.items())))
    if correlations:
        yield f"Correlation with the control over the units: {correlations}."


_TESTS = {
    "sign_flip": (
        f"sign-flip test over the units (exact up to {EXACT_PAIRS} pairs, {FLIPS:,} random sign patterns above), which "
        "assumes that differences are symmetric without an effect"
    ),
    "bootstrap_t": f"studentised bootstrap over the units ({SAMPLES:,} samples)",
}


def _correction(inference: Inference) -> str:
    """Word the correction over arms, metrics and analyses."""
    how = "by step-down max-T" if inference.correction == "max_t" else "after Holm"
    over = "over the arms of each metric" if inference.over == "arms" else "over all arms and metrics"
    looks = f", and over {len(inference.looks.seeds)} analyses" if inference.looks else ""
    return f"corrected {how} {over}{looks}"


def _by_chance(
    plan: Plan, rows: Sequence[ArmRow], inference: Inference, search: SearchFindings | None
) -> Iterator[str]:
    """State how likely one significant result anywhere is without any effect: at most the sum over the families.

    Families are the arms, the winners of a search and the tuned arms, in each metric or in all of them together; and
    the effects of each kind and the steps of each ablation path, in each metric.
    """
    number = _families(rows, plan.metrics, inference)
    tested = sum(bool(_tested(rows, metric.key)) for metric in plan.metrics)
    number += tested * len({contrast.kind for contrast in plan.contrasts})
    for table in (search.confirmed, search.tuned) if search else ():
        number += _families(table, plan.metrics, inference)
    for path in search.paths if search else ():
        number += len({key for step in path.steps for key in step.metrics})
    if number:
        families = "this family" if number == 1 else f"these {number} families"
        chance = min(1.0, number * ALPHA)
        yield f"Without any effect, at least one star in {families} has a probability of at most {chance:.2g}."


def _families(rows: Sequence[ArmRow], metrics: Sequence[MetricKey], inference: Inference) -> int:
    """Count the families of a table: one per metric, or one for all metrics that do not only give context."""
    tested = [metric for metric in metrics if _tested(rows, metric.key)]
    context = sum(is_context(metric) for metric in tested)
    claims = len(tested) - context
    return context + (min(1, claims) if inference.over == "arms_and_metrics" else claims)


def _diverged(plan: Plan, arms: Sequence[ArmValues], inference: Inference) -> Iterator[str]:
    """Compare how often arms diverged, and say what their differences are about."""
    rates = divergences(arms)
    for item in rates:
        treated = (
            "seeds that diverged are ranked last in its test"
            if inference.diverged == "worst"
            else "a significant difference must also hold with them ranked last"
        )
        yield (
            f"{item.arm} diverged at {item.diverged} of {counted(item.seeds, 'seed')}, the control at "
            f"{item.of_control} (exact McNemar test, corrected p {item.p_corrected:.2g}): differences are among the "
            f"surviving seeds; {treated}."
        )
    if rates and plan.contrasts:
        yield (
            "Effects are among the seeds at which none of their arms diverged; a significant one also holds with the "
            "others ranked last."
        )


def _looks(reached: ReachedSeeds) -> Iterator[str]:
    """Describe at which numbers of seeds a study was analysed, and which arms left there."""
    looks = reached.looks
    if looks is None:
        return
    if looks.earlier:
        before = " and ".join(counted(len(end), "seed") for end in sorted(looks.earlier, key=len))
        yield f"The study has ended before, with {before}: each of its analyses has a share of the level."
    if not looks.leaving:
        return
    at = ", ".join(map(str, looks.numbers))
    state = "Ended" if reached.complete else "So far"
    left = [
        f"{', '.join(sorted(arms))} left {why}"
        for arms, why in ((reached.decided, "when decided"), (reached.futile, "without a sign of an effect"))
        if arms
    ]
    reached_at = f"{state} after {len(reached.seeds)} seeds"
    yield f"Analyses after {at} seeds, by the first metric. {reached_at}. p is valid at every one."
    if left:
        yield f"Arms that left before the others: {'; '.join(left)}."


def _drawn_orders(plan: Plan) -> Iterator[str]:
    """Describe the Monte Carlo error of effects that are averaged over random orders."""
    if draws := max((len(contrast.draws) for contrast in plan.contrasts), default=0):
        yield (
            f"Shapley values are means over {2 * draws} random orders, in pairs of an order and its reverse; intervals "
            "and p-values include the error of this sampling."
        )


def _groups(plan: Plan) -> Iterator[str]:
    """Describe how groups of clips were made and compared."""
    by = plan.study.by
    if by is None:
        return
    yield (
        "By group: mean over the seeds of the mean over the group's clips; Δ is paired by seed. Intervals are not "
        "corrected for the numbers of arms and groups, and no test is made. Groups with fewer than "
        f"{counted(by.least, 'clip')} over all seeds have no value, and distances need as many of each cell."
    )
    for name, rule in by.subsets.items():
        yield f"Subset {name}: {rule.words()}."


def _numbers(key: str, arms: Sequence[ArmValues]) -> str:
    """State the numbers without which a measure between sets means nothing, and its value for real clips."""
    found = next(filter(None, (arm.numbers(key) for arm in arms)), None)
    if found is None:
        return ""
    numbers = [
        f"N = {counted(int(found['clips']), 'clip')} x {counted(int(found['frames']), 'frame')} a seed",
        f"{int(found['references']):,} reference clips",
        f"width {int(found['num_features'])}",
        *([f"ddof {int(found['ddof'])}"] if "ddof" in found else []),
    ]
    if "floor" not in found:
        return f" {', '.join(numbers)}."
    floor = f"{found['floor']:.4g} (sd {found['floor_sd']:.2g})"
    return f" {', '.join(numbers)}; floor {floor}: real against real clips at the same N."


def warnings(records: Sequence[Record], code: Mapping[str, str], noun: str) -> Iterator[str]:
    """Warn of results that may not be comparable with the others.

    Args:
        records: Results of one table.
        code: Arm -> code hash of the newest of them, among the results of its system.
        noun: Their name, such as ``cells``.
    """
    if smaller := sum(bool(record.retries) for record in records):
        yield f"{smaller} of {len(records)} {noun} ran out of memory and were repeated in smaller batches."
    if other := sum(record.code_hash != code.get(record.arm) for record in records):
        yield (
            f"{other} of {len(records)} {noun} were computed with other code than the newest result; they may not be "
            "comparable."
        )


def other_data(plan: Plan, records: Mapping[str, Record]) -> Iterator[str]:
    """Tell of results that are in no table since they were computed from other data."""
    now = {arm: spec.content for arm, spec in plan.specs.items()}
    by_change = Counter(changes(record.content, now[record.arm]) for record in of_other_data(plan, records))
    for change, number in sorted(by_change.items()):
        yield f"{counted(number, 'result')} from other data not shown ({change})."


def mixed(records: Sequence[Record], noun: str) -> Iterator[str]:
    """Warn of metrics that were not computed with the same settings in all results of one table."""
    for key in sorted({key for record in records for key in record.settings}):
        if len({record.settings[key] for record in records if key in record.settings}) > 1:
            yield f"{key}: not all {noun} were scored with the same settings; they are not comparable."


def failure(record: Record) -> str:
    """Name a failed cell and the reason."""
    place = ""
    if record.trial is not None:
        repeat = f" of repeat {record.repeat + 1}" if record.repeat else ""
        names = {"search": f"trial {record.trial}", "path": f"path step {record.trial}"}
        place = f" {names.get(record.stage, winner(record.trial))}{repeat}"
    return f"{record.arm}{place} seed {record.seed}{record.kind}: {record.error}"


def not_compared(arms: Sequence[ArmValues]) -> Iterator[str]:
    """Warn of values that are excluded because they were scored with other settings than the control's."""
    excluded: Counter[str] = Counter()
    for arm in arms:
        for record in arm.records.values():
            excluded.update(key for key, by in record.settings.items() if by != arm.settings[key])
    for key, number in sorted(excluded.items()):
        yield (
            f"{key}: {counted(number, 'value')} excluded: not comparable with the control's, since extractor or number "
            "or size of clips or frames differ."
        )


def _tested(rows: Sequence[ArmRow], key: str) -> list[Summary]:
    return [row.metrics[key] for row in rows if row.metrics[key].p_value is not None]


def _smallest_p(tested: Sequence[Summary], factor: int) -> str:
    """State the smallest corrected p: Holm multiplies the smallest of m p-values by m, max-T does not."""
    smallest = min(summary.smallest_p for summary in tested if summary.smallest_p is not None)
    corrected = min(1.0, factor * smallest)
    units = f"{tested[0].unit}s"
    too_few = f" Too few {units} for any arm to be significant at {ALPHA}." if corrected > ALPHA else ""
    after = f"; corrected over {counted(factor, 'comparison')}: {corrected:.2g}" if factor > 1 else ""
    return f"Smallest p that these {units} can reach: {smallest:.2g}{after}.{too_few}"


def _correlation(key: str, tested: Sequence[Summary]) -> str:
    correlations = [summary.correlation for summary in tested if summary.correlation is not None]
    if not correlations:
        return ""
    spread = f" ({min(correlations):.2f} to {max(correlations):.2f})" if len(correlations) > 1 else ""
    return f"{key} median {median(correlations):.2f}{spread}"


def _equivalence(plan: Plan) -> Iterator[str]:
    margins = plan.study.margins
    within = ", ".join(
        f"{metric.key} {margins[metric.family]:g}" for metric in plan.metrics if metric.family in margins
    )
    if within:
        test = f"two one-sided paired t tests at {ALPHA} divided by the number of arms"
        yield f"Equivalent within a margin ({within}): {test}."
