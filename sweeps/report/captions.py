"""How the numbers of a table came about, in sentences."""

from collections import Counter
from collections.abc import Iterator, Sequence
from statistics import median

from sweeps.plan import Plan
from sweeps.results.arm_values import ArmValues
from sweeps.results.comparison import ArmRow, Summary
from sweeps.results.record import Record
from sweeps.results.search import winner
from sweeps.results.stopping import Stage
from sweeps.statistics.paired import ALPHA, CONFIDENCE, EXACT_PAIRS, FLIPS
from sweeps.study.words import counted
from trainables.metrics import MetricKey
from trainables.provenance import commit


def caption(plan: Plan, rows: Sequence[ArmRow], code: str, stage: Stage) -> str:
    """What a reader has to know of the table of arms, a line each: seeds, clips, intervals, test, metrics, code."""
    protocol = plan.cells[0].spec.protocol
    sentences = [
        f"Means over {counted(len(stage.seeds), 'seed')} of {protocol.clips} clips x {protocol.frames} frames, "
        f"with {CONFIDENCE:.0%} t intervals; Δ is arm minus control, paired by seed, with its {CONFIDENCE:.0%} paired "
        f"t interval, {'widened for the looks' if stage.looks else 'not corrected'}.",
        *_looks(stage),
        *significance(rows, plan.metrics, sequential=stage.looks is not None),
        *_equivalence(plan),
        *_drawn(plan),
        *dict.fromkeys(f"{metric.key}: {metric.words}." for metric in plan.metrics),
        f"Results by code {code or 'unknown'}, table by commit {commit()}.",
    ]
    return "\n".join(sentences)


def significance(rows: Sequence[ArmRow], metrics: Sequence[MetricKey], *, sequential: bool = False) -> Iterator[str]:
    """Test, correction, what the seeds can reach with them, and what pairing gained."""
    tested = {metric.key: _tested(rows, metric.key) for metric in metrics}
    if not any(tested.values()):
        yield "No arm has a seed with a value in common with the control, so nothing is compared."
        return
    drawn = f"{FLIPS:,} seeded flips" if not sequential else "some drawn"
    yield (
        f"p: two-sided {'group-sequential ' * sequential}sign-flip test over the seeds (exact up to {EXACT_PAIRS} "
        f"pairs, {drawn} above), corrected after Holm over the arms of each metric."
    )
    reaches: dict[str, list[str]] = {}
    for key, summaries in tested.items():
        if summaries:
            reaches.setdefault(_reach(summaries), []).append(key)
    for reach, keys in reaches.items():
        yield reach if len(reaches) == 1 else f"{', '.join(keys)}: {reach}"
    correlations = ", ".join(filter(None, (_correlation(key, summaries) for key, summaries in tested.items())))
    if correlations:
        yield f"Correlation with the control over the seeds: {correlations}."


def _looks(stage: Stage) -> Iterator[str]:
    """When a study that ends by itself was looked at, and why it ended."""
    if stage.looks is None:
        return
    at = ", ".join(map(str, stage.looks.seeds))
    ended = "every arm was decided" if stage.decided else "these were all"
    so_far = f"{ended} after {len(stage.seeds)}" if stage.over else f"{len(stage.seeds)} are asked for so far"
    yield f"Looked at after {at} seeds, by the first metric: {so_far}. p holds whenever one stops."


def _drawn(plan: Plan) -> Iterator[str]:
    """What effects owe to drawing."""
    if draws := max((len(one.draws) for one in plan.contrasts), default=0):
        yield (
            f"Shapley values are means over {2 * draws} drawn orders, every second one the reverse of the one before; "
            "intervals and p-values take in that others might have been drawn."
        )


def warnings(records: Sequence[Record], code: str, noun: str) -> Iterator[str]:
    """Why some of the results may not compare with the others.

    Args:
        records: Results that stand side by side.
        code: Code hash of the newest of them.
        noun: What they are called.
    """
    if smaller := sum(bool(record.retries) for record in records):
        yield f"{smaller} of {len(records)} {noun} ran out of memory first, and were done in smaller pieces."
    if other := sum(record.code_hash != code for record in records):
        yield f"{other} of {len(records)} {noun} were done by other code than the newest, which may not compare."


def mixed(records: Sequence[Record], noun: str) -> Iterator[str]:
    """Metrics by which results that stand side by side were not all scored alike."""
    for key in sorted({key for record in records for key in record.settings}):
        if len({record.settings[key] for record in records if key in record.settings}) > 1:
            yield f"{key}: not all {noun} were scored with the same settings, so they do not compare."


def failure(record: Record) -> str:
    """A failed cell with its reason."""
    place = ""
    if record.trial is not None:
        place = f" trial {record.trial}" if record.stage == "search" else f" {winner(record.trial)}"
    return f"{record.arm}{place} seed {record.seed}{record.kind}: {record.error}"


def not_compared(found: Sequence[ArmValues]) -> Iterator[str]:
    """Values that are left out since they were scored otherwise than the control, and what that means."""
    left_out: Counter[str] = Counter()
    for arm in found:
        for record in arm.records.values():
            left_out.update(key for key, by in record.settings.items() if by != arm.settings[key])
    for key, number in sorted(left_out.items()):
        yield (
            f"{key}: {counted(number, 'value')} left out: another extractor, or another number or size of clips or "
            "frames than the control's, and such values do not compare."
        )


def _tested(rows: Sequence[ArmRow], key: str) -> list[Summary]:
    return [row.metrics[key] for row in rows if row.metrics[key].p_value is not None]


def _reach(tested: Sequence[Summary]) -> str:
    """The smallest corrected p: Holm multiplies the smallest of m p-values by m, and none falls below that one."""
    smallest = min(summary.smallest_p for summary in tested if summary.smallest_p is not None)
    corrected = min(1.0, len(tested) * smallest)
    out_of_reach = f": no arm can be significant at {ALPHA}, and none is marked" if corrected > ALPHA else ""
    return (
        f"These seeds can reach p = {smallest:.2g}, corrected over {counted(len(tested), 'arm')} "
        f"{corrected:.2g}{out_of_reach}."
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
        yield f"Equivalent within a margin ({within}): two one-sided paired t tests at {ALPHA} over the number of arms."
