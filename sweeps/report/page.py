"""The report as one self-contained HTML page, readable without network and scripts."""

import base64
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sweeps.report import by_group, spent, texts
from sweeps.report.answers import answers
from sweeps.report.clips import Film, scenes
from sweeps.report.figures import COLOURS, SERIES, Plot, to_inline_svg
from sweeps.report.table import Report
from sweeps.report.verdicts import robustness_words, verdict_words
from sweeps.results.comparison import ArmRow
from sweeps.results.robustness import Robustness
from sweeps.statistics.families import Method
from sweeps.study.words import sampled_text
from trainables.metrics import MetricKey

if TYPE_CHECKING:
    from markupsafe import Markup

FOLDER = Path(__file__).parent
MOST_TRIALS = 1000
_TESTS: dict[Method, Mapping[str, str]] = {
    "sign_flip": {
        "p, sign-flip test": "p_value",
        "p, t test": "p_t",
        "p, Wilcoxon test": "p_wilcoxon",
        "p, bootstrap": "p_bootstrap",
    },
    "bootstrap_t": {
        "p, bootstrap": "p_value",
        "p, t test": "p_t",
        "p, Wilcoxon test": "p_wilcoxon",
        "p, sign-flip test": "p_sign_flip",
    },
}
"""Test of the study -> head of a column -> number of a difference: the study's test and those beside it."""


@dataclass(frozen=True)
class Line:
    """One row of the page's table of arms; ``entries`` has one entry per metric."""

    row: ArmRow
    about: str
    incomplete: str
    n: str
    sizes: tuple[str, ...]
    entries: tuple[texts.FormattedMetric, ...]


def to_html(report: Report, plots: Sequence[Plot], films: Sequence[Film]) -> str:
    """Write the page: table, figures, search, clips, caption, notes and failures.

    Args:
        report: The report.
        plots: Figures, in their order.
        films: Clips of the arms; may be empty.
    """
    shown, thinned = scenes(report, films)
    search = report.search
    return render(
        "page.html.j2",
        report=report,
        answers=answers(report),
        facts=list(_facts(report)),
        heads=[(metric, texts.head(metric).removeprefix(metric.key), texts.aim(metric)) for metric in report.metrics],
        lines=_lines(report, report.rows),
        confirmed=_lines(report, search.confirmed) if search else [],
        trials=search.trials[:MOST_TRIALS] if search else [],
        examined=_examined(report),
        tests=_TESTS[report.inference.test],
        groups=by_group.tables(report),
        texts=texts,
        spent=spent,
        figures=inline(plots),
        scenes=shown,
        thinned=thinned,
    )


def render(template: str, **values: Any) -> str:
    """Fill a template in this folder with values; texts are escaped, and the colours of the page are given."""
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(FOLDER),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "breakable": _breakable,
        "data": _data,
        "number": _number,
        "p": texts.p_text,
        "sampled": sampled_text,
        "typeset": texts.typeset,
        "verdict": verdict_words,
        "robustness": _conclusion,
    }
    return environment.get_template(template).render(colours=COLOURS | SERIES, **values)


def inline(plots: Sequence[Plot]) -> list[tuple[Plot, "Markup"]]:
    """Pair figures with their pictures in the page's colours."""
    from markupsafe import Markup

    return [(plot, Markup(to_inline_svg(plot))) for plot in plots]


def _lines(report: Report, rows: Sequence[ArmRow]) -> list[Line]:
    columns = [texts.entries(rows, metric.key) for metric in report.metrics]
    sizes = texts.sizes(rows)
    return [
        Line(
            row,
            about="" if row.changes.replace(": ", "=") == row.id else row.changes,
            incomplete=texts.incomplete(row),
            n=texts.pairs(row),
            sizes=sizes[place] if sizes else (),
            entries=tuple(column[place] for column in columns),
        )
        for place, row in enumerate(rows)
    ]


def _examined(report: Report) -> list[tuple[MetricKey, list[Robustness]]]:
    """Group the robustness of each difference by metric."""
    groups = [
        (metric, [robustness for robustness in report.robustness if robustness.metric == metric.key])
        for metric in report.metrics
    ]
    return [(metric, group) for metric, group in groups if group]


def _facts(report: Report) -> Iterator[tuple[str, str]]:
    """Summarise what was run."""
    study, protocol = report.plan.study, report.plan.cells[0].spec.protocol
    arms = report.plan.arms
    yield "system", _of_arms(study.system, {arm.id: arm.system.name for arm in arms})
    yield "base", _of_arms(study.base, {arm.id: arm.base for arm in arms})
    if encoders := _of_arms(study.text_encoder, {arm.id: arm.text_encoder for arm in arms if arm.text_encoder}):
        yield "text encoder", encoders
    yield "arms × seeds", f"{len(report.rows)} × {_seeds(report)}"
    yield "clips", f"{protocol.clips} × {protocol.frames} frames, {protocol.width} × {protocol.height} px"
    yield "cells done", cells_done(report)


def _of_arms(usual: str, values: Mapping[str, str]) -> str:
    """Word a value of the study with those of the arms that have another."""
    others = (f"{value} ({arm})" for arm, value in values.items() if value != usual)
    return "; ".join(filter(None, (usual, *others)))


def _seeds(report: Report) -> str:
    """Word the number of seeds: a range where arms have left the study before others."""
    numbers = sorted({len(seeds) for seeds in report.reached.of_arm.values()})
    return str(numbers[0]) if len(numbers) == 1 else f"{numbers[0]} to {numbers[-1]}"


def cells_done(report: Report) -> str:
    """Word the number of finished cells, of those that are requested of each arm."""
    cells = sum(map(len, report.reached.of_arm.values()))
    unfinished = sum(row.failed + row.lost + row.diverged + row.pruned + row.missing for row in report.rows)
    return f"{cells - unfinished} of {cells}"


def _breakable(name: str) -> "Markup":
    """Mark where a browser may break a name: after ``+ = , _`` and dots of paths, so that no word is split."""
    from markupsafe import Markup

    return Markup("<wbr>").join(re.split(r"(?<=[+=,_])|(?<=\.)(?=[^\W\d])", name))


def _conclusion(examined: Robustness) -> str:
    """Word the robustness of a difference as a sentence of its own."""
    words = robustness_words(examined)
    return words[0].upper() + words[1:]


def _data(content: bytes, kind: str) -> str:
    """Encode a file as a data URL."""
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"


def _number(value: float | None) -> str:
    return "" if value is None else texts.typeset(f"{value:.5g}")
