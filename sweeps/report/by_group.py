"""Tables of metrics by group of clips: categories of the annotations, and subsets by a rule."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from sweeps.plan import Plan
from sweeps.report import texts
from sweeps.report.table import Report
from sweeps.results.by_group import GroupFinding, GroupOfArm, Refusal
from sweeps.study.words import counted

ALL_ARMS = "all arms"


@dataclass(frozen=True)
class GroupLine:
    """One group in one arm, formatted.

    Args:
        group: Category or subset.
        arm: Id of the arm; ``all arms`` where none has a value.
        entry: Mean and difference.
        n: Number of seeds with a value.
        clips: Number of clips, over all seeds.
        refusal: Why there is no value; empty where there is one.
    """

    group: str
    arm: str
    entry: texts.FormattedMetric
    n: str
    clips: str
    refusal: str = ""


@dataclass(frozen=True)
class GroupTable:
    """One metric by the groups of one grouping."""

    heading: str
    grouping: str
    lines: tuple[GroupLine, ...]

    @property
    def shown(self) -> list[GroupLine]:
        """Its lines with a value."""
        return [line for line in self.lines if not line.refusal]

    @property
    def notes(self) -> list[str]:
        """Its lines without a value, in words."""
        return [f"{line.group}, {line.arm}: {line.refusal}" for line in self.lines if line.refusal]


def tables(report: Report) -> list[GroupTable]:
    """Format the metrics by group: one table per metric and grouping."""
    found = []
    for metric in report.metrics:
        of_metric = [finding for finding in report.groups if finding.metric == metric.key]
        for grouping in dict.fromkeys(finding.grouping for finding in of_metric):
            rows = [finding for finding in of_metric if finding.grouping == grouping]
            heading = f"{texts.head(metric)} by {grouping}"
            found.append(GroupTable(heading, grouping, tuple(_lines(rows, least(report.plan)))))
    return found


def _lines(findings: Sequence[GroupFinding], fewest: int) -> Iterator[GroupLine]:
    entries = iter(texts.formatted([arm.summary for finding in findings for arm in finding.arms]))
    for finding in findings:
        of_arms = [(arm, next(entries)) for arm in finding.arms]
        if all(arm.refusal for arm, _ in of_arms):
            yield _line(finding.name, ALL_ARMS, of_arms[0][0], of_arms[0][1], fewest)
        else:
            yield from (_line(finding.name, arm.arm, arm, entry, fewest) for arm, entry in of_arms)


def _line(group: str, name: str, arm: GroupOfArm, entry: texts.FormattedMetric, fewest: int) -> GroupLine:
    return GroupLine(group, name, entry, str(arm.summary.n), str(arm.clips), refusal(arm, fewest))


def refusal(arm: GroupOfArm, fewest: int) -> str:
    """Word why an arm has no value; empty where it has one."""
    match arm.refusal:
        case None:
            return ""
        case Refusal.FEW_CLIPS:
            return f"no value: {counted(arm.clips, 'clip')} over all seeds, fewer than {fewest}"
        case Refusal.FEW_CLIPS_OF_A_SET:
            return f"no distance: no cell has {fewest} clips and {fewest} reference clips of it"


def least(plan: Plan) -> int:
    """Return the smallest number of clips of a group that has a value."""
    return plan.study.by.least if plan.study.by else 0
