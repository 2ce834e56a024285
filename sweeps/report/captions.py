"""Sentences on how the numbers of a table were computed and what limits them."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from statistics import median

from sweeps.plan import Plan
from sweeps.results.arm_values import ArmValues
from sweeps.results.comparison import ArmRow, Summary
from sweeps.results.content import of_other_data
from sweeps.results.record import Record
from sweeps.results.search import winner
from sweeps.results.stopping import ReachedSeeds
from sweeps.statistics.paired import ALPHA, CONFIDENCE, EXACT_PAIRS, FLIPS
from sweeps.study.words import counted
from trainables.data.content import changes
from trainables.metrics import MetricKey
from trainables.provenance import commit


def caption(
    plan: Plan, rows: Sequence[ArmRow], arms: Sequence[ArmValues], code: Mapping[str, str], reached: ReachedSeeds
) -> list[str]:
    """Describe the table of arms: seeds, clips, intervals, test, metrics and code, one sentence each."""
    newest = " and ".join(dict.fromkeys(filter(None, code.values()))) or "unknown"
    return [
        _intervals(plan, reached),
        *_looks(reached),
        *significance(rows, plan.metrics, sequential=reached.looks is not None),
        *_equivalence(plan),
        *_drawn_orders(plan),
        *_groups(plan),
        *dict.fromkeys(f"{metric.key}: {metric.words}.{_numbers(metric.key, arms)}" for metric in plan.metrics),
        f"Results computed with code {newest}; table written at commit {commit()}.",
    ]


def _intervals(plan: Plan, reached: ReachedSeeds) -> str:
    protocol, level = plan.cells[0].spec.protocol, f"{CONFIDENCE:.0%}"
    return (
        f"Means over {counted(len(reached.seeds), 'seed')} of {protocol.clips} clips x {protocol.frames} frames, "
        f"with {level} t intervals; Δ is arm minus control, paired by seed, with its {level} paired t interval, "
        f"{'widened for the repeated looks' if reached.looks else 'not corrected for the number of arms'}."
    )


def significance(rows: Sequence[ArmRow], metrics: Sequence[MetricKey], *, sequential: bool = False) -> Iterator[str]:
    """Describe the test, its correction, the smallest p it can reach, and the gain from pairing."""
    tested = {metric.key: _tested(rows, metric.key) for metric in metrics}
    if not any(tested.values()):
        yield "Nothing is compared: no arm has a value at a seed at which the control has one."
        return
    yield (
        f"p: two-sided {'group-sequential ' * sequential}sign-flip test over the seeds (exact up to {EXACT_PAIRS} "
        f"pairs, {'random' if sequential else f'{FLIPS:,} random'} sign patterns above), corrected after Holm over the "
        "arms of each metric."
    )
    by_sentence: dict[str, list[str]] = {}
    for key, summaries in tested.items():
        if summaries:
            by_sentence.setdefault(_smallest_p(summaries), []).append(key)
    for sentence, keys in by_sentence.items():
        prefix = f"{', '.join(keys)}: " if len(by_sentence) > 1 else ""
        yield f"{prefix}{sentence}"
    correlations = ", ".join(filter(None, (_correlation(key, summaries) for key, summaries in tested.items())))
    if correlations:
        yield f"Correlation with the control over the seeds: {correlations}."


def _looks(reached: ReachedSeeds) -> Iterator[str]:
    """Describe at which numbers of seeds a study with a stopping rule was analysed, and why it ended."""
    if reached.looks is None:
        return
    at = ", ".join(map(str, reached.looks.seeds))
    num_seeds = len(reached.seeds)
    if reached.complete:
        state = f"Ended after {num_seeds} seeds: {'every arm was decided' if reached.decided else 'the maximum'}."
    else:
        state = f"{num_seeds} seeds are requested so far."
    yield f"Interim analyses after {at} seeds, by the first metric. {state} p is valid at every analysis."


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
        place = f" trial {record.trial}" if record.stage == "search" else f" {winner(record.trial)}"
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


def _smallest_p(tested: Sequence[Summary]) -> str:
    """State the smallest corrected p: Holm multiplies the smallest of m p-values by m, and none is below that."""
    smallest = min(summary.smallest_p for summary in tested if summary.smallest_p is not None)
    corrected = min(1.0, len(tested) * smallest)
    too_few = f" Too few seeds for any arm to be significant at {ALPHA}." if corrected > ALPHA else ""
    return (
        f"Smallest p that these seeds can reach: {smallest:.2g}; corrected over "
        f"{counted(len(tested), 'arm')}: {corrected:.2g}.{too_few}"
    )


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
