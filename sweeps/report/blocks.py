"""Overview of a study with blocks: a page that leads to the report of each, and drift across them.

Arms are compared within a block, by its control. Across blocks only values at the same frame are shown together.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from sweeps.plan import Plan
from sweeps.plan.diff import changes, settings
from sweeps.report.answers import answers
from sweeps.report.drift_plots import block_drift_plots
from sweeps.report.figures import figure_files
from sweeps.report.page import cells_done, inline, render
from sweeps.report.table import Report
from sweeps.study.words import written
from trainables.files import write_atomically


@dataclass(frozen=True)
class Line:
    """One row of the table of blocks.

    Args:
        block: Name of the block.
        setting: Values that differ between the blocks.
        arms: Number of arms, the control included.
        done: Number of finished cells.
        link: Path of the block's report.
    """

    block: str
    setting: str
    arms: int
    done: str
    link: str


def study_name(plans: Mapping[str, Plan]) -> str:
    """Return the name of the study that these blocks belong to."""
    block, plan = next(iter(plans.items()))
    return plan.study.name.removesuffix(f".{block}")


def save_overview(reports: Mapping[str, Report], links: Mapping[str, str], folder: Path) -> Path:
    """Write the overview as ``report.html``, and its figures as SVG and PDF.

    Args:
        reports: Report of each block.
        links: Path of each block's page, relative to the folder.
        folder: Folder of the overview.

    Returns:
        Path of the page.

    Raises:
        OSError: The folder is not writable.
    """
    folder.mkdir(parents=True, exist_ok=True)
    plans = {block: report.plan for block, report in reports.items()}
    figures = list(block_drift_plots(reports))
    page = render(
        "blocks.html.j2",
        study=study_name(plans),
        question=next(iter(reports.values())).question,
        facts=_facts(plans),
        lines=list(_lines(reports, links)),
        answers={block: found for block, report in reports.items() if (found := answers(report))},
        figures=inline(figures),
        frames_of_base=next((found.frames_of_base for report in reports.values() for found in report.drift), None),
    )
    for name, content in (figure_files(figures) | {"report.html": page.encode()}).items():
        write_atomically(folder / name, content)
    return folder / "report.html"


def _facts(plans: Mapping[str, Plan]) -> list[tuple[str, str]]:
    plan = next(iter(plans.values()))
    return [("system", ", ".join(plan.systems)), ("base", ", ".join(plan.bases)), ("blocks", str(len(plans)))]


def _lines(reports: Mapping[str, Report], links: Mapping[str, str]) -> Iterator[Line]:
    differing = _differing([report.plan for report in reports.values()])
    for (block, report), values in zip(reports.items(), differing, strict=True):
        setting = ", ".join(f"{path}: {written(value)}" for path, value in values.items())
        yield Line(block, setting, len(report.rows), cells_done(report), links[block])


def _differing(plans: Sequence[Plan]) -> list[dict[str, object]]:
    """Return each plan's values of the keys that differ between plans."""
    first, *others = map(settings, plans)
    found = [{change.path: change for change in changes(first, other)} for other in others]
    paths = dict.fromkeys(path for each in found for path in each if path not in ("name", "question"))
    of_first = {path: next(each[path].old for each in found if path in each) for path in paths}
    return [
        of_first,
        *({path: each[path].new if path in each else of_first[path] for path in paths} for each in found),
    ]
