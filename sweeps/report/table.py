"""The table: each arm's difference from the control, paired by seed, with its interval and its corrected test.

Built from a plan and the ledger's records alone, without Ray or MLflow.
"""

import functools
from collections.abc import Mapping
from dataclasses import dataclass, replace

from sweeps.plan import Plan
from sweeps.proof import Proof
from sweeps.report.captions import caption, failure, not_compared, warnings
from sweeps.report.search_notes import search_notes
from sweeps.report.verdicts import ClaimLine, claim_line
from sweeps.results.arm_values import newest_code, values_of
from sweeps.results.comparison import ArmRow, Size, compare
from sweeps.results.contrasts import ContrastRow, estimate
from sweeps.results.effort import Audit, audit
from sweeps.results.hypotheses import judge
from sweeps.results.record import Record
from sweeps.results.robustness import Robustness, examine
from sweeps.results.search import SearchFindings, search_findings
from sweeps.results.stopping import Stage, stage_of
from trainables.metrics import MetricKey


@dataclass(frozen=True)
class Report:
    """Everything the table says, in numbers and in words.

    Args:
        rows: The control, then the arms in the plan's order.
        notes: What the planner noted, and what is wrong with the results.
        caption: How the numbers came about, a line each: seeds, clips, intervals, test, correction, metrics, code.
        errors: Failed cells, each with its reason.
        values: Arm -> metric key -> seed -> value: what the rows were computed from.
        search: What the study's search found; None without a search.
        stage: How many of its seeds the study has come to.
        effort: What each arm was given, and whether that was alike.
        search_notes: What a reader has to know of the search.
        contrasts: What the study's design computes from the arms; empty for one change at a time.
    """

    study: str
    question: str
    rows: tuple[ArmRow, ...]
    metrics: tuple[MetricKey, ...]
    notes: tuple[str, ...]
    caption: str
    errors: tuple[str, ...]
    values: dict[str, dict[str, dict[int, float]]]
    search: SearchFindings | None
    plan: Plan
    stage: Stage
    effort: Audit
    contrasts: tuple[ContrastRow, ...] = ()
    search_notes: tuple[str, ...] = ()

    @functools.cached_property
    def claims(self) -> tuple[ClaimLine, ...]:
        """What became of the study's hypotheses."""
        claims = judge(self.plan.arms, self.rows, self.metrics, self.robustness)
        return tuple(claim_line(claim) for claim in claims)

    @functools.cached_property
    def robustness(self) -> tuple[Robustness, ...]:
        """What a reviewer asks of each difference."""
        return examine(self.rows, self.metrics, self.values)


def build(plan: Plan, records: Mapping[str, Record], proof: Proof | None = None) -> Report:
    """Summarise the ledger's records for a plan.

    A metric that a cell was not scored with yet is a missing number of that cell, not an error.

    Args:
        plan: What was asked; of the records only those of its cells and of its search count.
        records: By cell id.
        proof: What was counted of the arms before they ran.
    """
    stage = stage_of(plan, records)
    found = values_of(plan, records, stage.seeds)
    of_plan = [record for arm in found for record in arm.records.values()]
    code = newest_code(of_plan)
    rows = compare(found, plan.metrics, plan.study.margins, code, stage.looks)
    rows = tuple(replace(row, size=_size(row.id, proof)) for row in rows)
    search = search_findings(plan, records)
    values = {arm.id: {metric.key: arm.values(metric.key) for metric in plan.metrics} for arm in found}
    of_search = search.records if search else ()
    failed = [record for record in (*of_plan, *of_search) if record.status == "failed"]
    return Report(
        study=plan.study.name,
        question=plan.study.question,
        rows=rows,
        metrics=plan.metrics,
        notes=(*plan.notes, *warnings(of_plan, code, "cells"), *not_compared(found)),
        caption=caption(plan, rows, code, stage),
        errors=tuple(map(failure, failed)),
        values=values,
        search=search,
        search_notes=tuple(search_notes(plan, search)) if search else (),
        plan=plan,
        stage=stage,
        effort=audit(plan, records, stage.seeds),
        contrasts=estimate(plan.contrasts, values, [metric.key for metric in plan.metrics], stage),
    )


def _size(arm: str, proof: Proof | None) -> Size | None:
    one = proof.of(arm) if proof else None
    return Size(one.parameters, one.flops, one.delta_parameters, one.delta_flops) if one else None
