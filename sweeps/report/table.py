"""The report as data: each arm's difference from the control, paired by seed, with interval and corrected test.

Built from a plan and the ledger's records alone, without Ray or MLflow.
"""

import functools
from collections.abc import Mapping
from dataclasses import dataclass, replace

from models.bases import trained_frames
from sweeps.plan import Plan
from sweeps.proof import Proof
from sweeps.report.captions import caption, failure, not_compared, other_data, warnings
from sweeps.report.search_notes import search_notes
from sweeps.report.verdicts import ClaimLine, claim_line
from sweeps.results.arm_values import newest_code, values_of
from sweeps.results.by_group import GroupFinding, by_group
from sweeps.results.comparison import ArmRow, NetworkSize, compare
from sweeps.results.contrasts import ContrastRow, estimate
from sweeps.results.divergence import Divergence, divergences
from sweeps.results.drift import Drift, drift
from sweeps.results.effort import Audit, audit
from sweeps.results.hypotheses import judge
from sweeps.results.pairing import Inference, Pairs
from sweeps.results.record import Record
from sweeps.results.robustness import Robustness, examine
from sweeps.results.search import SearchFindings, search_findings
from sweeps.results.significance import pairs_by_arm
from sweeps.results.stopping import ReachedSeeds, inference_of, reached_seeds
from sweeps.results.units import choose_units
from trainables.metrics import MetricKey


@dataclass(frozen=True)
class Report:
    """Results of a study, in numbers and in words.

    Args:
        rows: The control, then the arms in the plan's order.
        notes: Remarks of the planner, and warnings about the results.
        caption: How the numbers were computed, one sentence per line: seeds, clips, intervals, test, metrics, code.
        errors: Failed cells, each with its reason.
        values: Arm -> metric key -> seed -> value.
        pairs: Metric key -> arm -> its pairs with the control, by the metric's unit.
        inference: Units, analyses and correction.
        search: Results of the study's search; None without a search.
        reached: Seeds that the study has reached.
        effort: Cost of each arm, and whether all arms received the same effort.
        contrasts: Effects that the study's design computes from the arms; empty for one change at a time.
        search_notes: Remarks on the search.
        drift: Metrics of frames by frame index.
        groups: Metrics by group of clips; empty for a study without groups.
        divergences: How often each arm diverged; empty where no cell did.
    """

    study: str
    question: str
    rows: tuple[ArmRow, ...]
    metrics: tuple[MetricKey, ...]
    notes: tuple[str, ...]
    caption: str
    errors: tuple[str, ...]
    values: dict[str, dict[str, dict[int, float]]]
    pairs: dict[str, dict[str, Pairs]]
    inference: Inference
    search: SearchFindings | None
    plan: Plan
    reached: ReachedSeeds
    effort: Audit
    contrasts: tuple[ContrastRow, ...] = ()
    search_notes: tuple[str, ...] = ()
    drift: tuple[Drift, ...] = ()
    groups: tuple[GroupFinding, ...] = ()
    divergences: tuple[Divergence, ...] = ()

    @functools.cached_property
    def claims(self) -> tuple[ClaimLine, ...]:
        """Outcomes of the study's hypotheses, in words."""
        return tuple(
            map(claim_line, judge(self.plan.arms, self.rows, self.metrics, self.robustness, self.plan.study.margins))
        )

    @functools.cached_property
    def robustness(self) -> tuple[Robustness, ...]:
        """Robustness of each difference."""
        return examine(self.rows, self.metrics, self.pairs, self.inference, self.reached.of_arm, self.plan.prompts)


def build(plan: Plan, records: Mapping[str, Record], proof: Proof | None = None) -> Report:
    """Summarise the ledger's records for a plan.

    A metric that a cell was not scored with yet is a missing number of that cell, not an error.

    Args:
        plan: The plan; only records of its cells and of its search are used.
        records: Results by cell id.
        proof: Parameters and operations of the arms, counted before they ran.
    """
    reached = reached_seeds(plan, records)
    arms = values_of(plan, records, reached.of_arm)
    inference = inference_of(plan, choose_units(plan, arms, plan.metrics), reached)
    of_plan = [record for arm in arms for record in arm.records.values()]
    code = newest_code(plan, of_plan)
    rows = compare(arms, plan.metrics, plan.study.margins, code, inference)
    rows = tuple(replace(row, size=_size(row.id, proof)) for row in rows)
    search = search_findings(plan, records)
    values = {arm.id: {metric.key: arm.values(metric.key) for metric in plan.metrics} for arm in arms}
    of_search = search.records if search else ()
    failed = [record for record in (*of_plan, *of_search) if record.status == "failed"]
    return Report(
        study=plan.study.name,
        question=plan.study.question,
        rows=rows,
        metrics=plan.metrics,
        notes=(*plan.notes, *warnings(of_plan, code, "cells"), *not_compared(arms), *other_data(plan, records)),
        caption="\n".join(caption(plan, rows, arms, code, reached, inference, search)),
        errors=tuple(map(failure, failed)),
        values=values,
        pairs={metric.key: pairs_by_arm(arms, metric.key, inference) for metric in plan.metrics},
        inference=inference,
        search=search,
        search_notes=tuple(search_notes(plan, search)) if search else (),
        plan=plan,
        reached=reached,
        effort=audit(plan, records, reached.of_arm),
        drift=drift(arms, plan.metrics, _frames_of_base(plan)),
        groups=by_group(plan, arms, inference),
        divergences=divergences(arms),
        contrasts=estimate(plan.contrasts, arms, plan.metrics, inference),
    )


def _frames_of_base(plan: Plan) -> int | None:
    """Return the number of frames that the base was trained on; None where files do not tell, or bases differ."""
    try:
        frames = {trained_frames(spec.ref) for spec in plan.specs.values()}
    except (ValueError, OSError):
        return None
    return frames.pop() if len(frames) == 1 else None


def _size(arm: str, proof: Proof | None) -> NetworkSize | None:
    of_arm = proof.of(arm) if proof else None
    return NetworkSize(of_arm.parameters, of_arm.flops, of_arm.delta_parameters, of_arm.delta_flops) if of_arm else None
