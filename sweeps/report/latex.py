r"""The report as a LaTeX table: booktabs, nothing else; ``\input`` it into an article.

One block of rows per metric, so that the width does not depend on the number of metrics.
"""

import unicodedata
from collections.abc import Iterable, Iterator, Sequence

from sweeps.report import by_group, texts
from sweeps.report.table import Report
from sweeps.results.comparison import ArmRow
from trainables.metrics import MetricKey

MOST_LINES = 28
COLUMNS = ("arm", texts.MEAN, texts.DIFFERENCE, "corrected p", "n")
OF_GROUP = ("arm", texts.MEAN, texts.DIFFERENCE, "n", "clips")

_SPECIAL = {
    "\\": r"\textbackslash{}", "{": r"\{", "}": r"\}", "$": r"\$", "&": r"\&", "%": r"\%", "#": r"\#", "_": r"\_",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": "$<$", ">": "$>$", "|": "$|$", '"': "''",
    "[": "{[}", "]": "{]}", "*": "$^{*}$",  # at the start of a row LaTeX would read these as an option of \\
    "±": r"$\pm$", "−": "$-$", "×": r"$\times$", "·": r"$\cdot$", "≤": r"$\leq$", "≥": r"$\geq$", "≈": r"$\approx$",
    "→": r"$\rightarrow$", "↑": r"$\uparrow$", "↓": r"$\downarrow$", "∞": r"$\infty$", "°": r"$^\circ$",
    "–": "--", "—": "---", "‘": "`", "’": "'", "“": "``", "”": "''", "…": r"\ldots{}", "µ": r"$\mu$",
    "ß": r"\ss{}", "æ": r"\ae{}", "ø": r"\o{}", "ł": r"\l{}", "Æ": r"\AE{}", "Ø": r"\O{}", "Ł": r"\L{}",
}  # fmt: skip
_ACCENTS = {
    "\u0300": "`", "\u0301": "'", "\u0302": "^", "\u0303": "~", "\u0304": "=", "\u0306": "u", "\u0307": ".",
    "\u0308": '"', "\u030a": "r", "\u030b": "H", "\u030c": "v", "\u0327": "c",
}  # fmt: skip
_GREEK = frozenset({
    "alpha", "beta", "gamma", "delta", "epsilon", "zeta", "eta", "theta", "iota", "kappa", "lambda", "mu", "nu", "xi",
    "pi", "rho", "sigma", "tau", "upsilon", "phi", "chi", "psi", "omega",
    "Gamma", "Delta", "Theta", "Lambda", "Xi", "Pi", "Sigma", "Upsilon", "Phi", "Psi", "Omega",
})  # fmt: skip


def to_latex(report: Report) -> str:
    r"""Write the table as floats: ``\usepackage{booktabs}`` is all they need.

    Winners of a search, effects and groups of clips are separate tables, and a long table continues in the next float.
    Failures and notes are in the other formats only; captions tell of groups with too few clips.
    """
    caption = " ".join(
        filter(
            None,
            (
                report.question,
                *report.caption.splitlines(),
                *(f"{line}." for line in texts.legend(report)),
                *_incomplete(report.rows),
            ),
        )
    )
    floats = [*_floats(report.rows, report.metrics, caption, report.study)]
    if report.search is not None and report.search.confirmed:
        winners = report.search.confirmed
        winners_caption = (
            f"Search winners at fresh seeds: {'; '.join(f'{row.id}, {row.changes}' for row in winners[1:])}."
        )
        caption = " ".join((winners_caption, *_incomplete(winners)))
        floats += _floats(winners, report.metrics, caption, f"{report.study}-winners")
    floats += _effects(report)
    floats += _groups(report)
    return "\n".join([r"% needs \usepackage{booktabs}", *floats])


def _effects(report: Report) -> Iterator[str]:
    """Write a float for each kind of effect that the design computes."""
    for number, table in enumerate(texts.contrast_tables(report), 1):
        head = ("effect", texts.DIFFERENCE, "corrected p", "n")
        yield from _float(f"{report.study}-effects-{number}", f"{table.heading}.", head, _effect_rows(report, table))


def _effect_rows(report: Report, table: texts.ContrastTable) -> Iterator[str]:
    for metric in report.metrics:
        yield from _heading(texts.head(metric), 4)
        for row, entry in zip(table.rows, table.entries[metric.key], strict=True):
            estimate = row.metrics.get(metric.key)
            numbers = (texts.p_text(estimate.p_corrected), str(estimate.effect.n)) if estimate else ("", "0")
            yield _line(row.name, *map(texts.typeset, (entry.change or entry.mean, *numbers)))


def _groups(report: Report) -> Iterator[str]:
    """Write floats for each metric and grouping of the clips; groups without a value are told in the caption."""
    for number, table in enumerate(by_group.tables(report), 1):
        label, shown = f"{report.study}-groups-{number}", table.shown
        caption = " ".join((f"{table.heading}.", *(f"{note}." for note in table.notes)))
        for start in range(0, max(1, len(shown)), MOST_LINES):
            rows = _group_rows(shown[start : start + MOST_LINES])
            yield from _float(label, caption, (table.grouping, *OF_GROUP), rows, part=start // MOST_LINES, words=2)


def _group_rows(lines: Sequence[by_group.GroupLine]) -> Iterator[str]:
    yield r"\midrule"
    for line in lines:
        numbers = (line.entry.mean, line.entry.change, line.n, line.clips)
        yield _line(line.group, line.arm, *map(texts.typeset, numbers))


def _incomplete(rows: Sequence[ArmRow]) -> list[str]:
    """List the incomplete arms for the caption; the table's first column has no room for them."""
    arms = "; ".join(texts.marked(row) for row in rows if texts.incomplete(row))
    return [f"Incomplete arms: {arms}."] if arms else []


def _floats(rows: Sequence[ArmRow], metrics: Sequence[MetricKey], caption: str, label: str) -> Iterator[str]:
    """Write floats with as many metrics as a page holds, at least one each."""
    together = max(1, MOST_LINES // (len(rows) + 1))
    for start in range(0, len(metrics), together):
        blocks = [line for metric in metrics[start : start + together] for line in _block(rows, metric)]
        sizes = _sizes(rows) if start + together >= len(metrics) else ()
        yield from _float(label, caption, COLUMNS, (*blocks, *sizes), part=start // together)


def _float(
    label: str, caption: str, head: Sequence[str], rows: Iterable[str], *, part: int = 0, words: int = 1
) -> Iterator[str]:
    """Write one float.

    Args:
        label: Name of the table in references and in the list of tables.
        caption: Caption of its first part.
        head: Heads of the columns.
        rows: Lines below the head.
        part: Number of the part of a table that continues from float to float.
        words: Number of the first columns, which have words instead of numbers.
    """
    yield from (r"\begin{table}", r"\centering\footnotesize\setlength{\tabcolsep}{3.5pt}")
    yield rf"\caption[{label}]{{{escape(f'{label}, continued.' if part else caption)}}}"
    yield rf"\label{{tab:{label}{f'-{part + 1}' if part else ''}}}\medskip"
    columns = "l" * words + "r" * (len(head) - words)
    yield from (rf"\begin{{tabular}}{{@{{}}{columns}@{{}}}}", r"\toprule", _line(*head))
    yield from rows
    yield from (r"\bottomrule", r"\end{tabular}", r"\end{table}", "")


def _heading(text: str, columns: int) -> Iterator[str]:
    """Write the head of a block of rows."""
    yield r"\midrule"
    yield rf"\multicolumn{{{columns}}}{{@{{}}l}}{{\textit{{{escape(text)}}}}} \\"


def _block(rows: Sequence[ArmRow], metric: MetricKey) -> Iterator[str]:
    yield from _heading(texts.head(metric), len(COLUMNS))
    for row, entry in zip(rows, texts.entries(rows, metric.key), strict=True):
        summary = row.metrics[metric.key]
        numbers = (entry.mean, entry.change, texts.p_text(summary.p_corrected), str(summary.n))
        yield _line(row.id, *map(texts.typeset, numbers))


def _sizes(rows: Sequence[ArmRow]) -> Iterator[str]:
    """Write the model sizes as a block below the metrics."""
    if not (sizes := texts.sizes(rows)):
        return
    yield r"\midrule"
    yield _line("", *texts.SIZES, "", "")
    for row, cells in zip(rows, sizes, strict=True):
        yield _line(row.id, *map(texts.typeset, cells), "", "")


def _line(*cells: str) -> str:
    """Write a row; marks have no width, so that numbers stay aligned."""
    return " & ".join(map(escape, cells)).replace(_SPECIAL[texts.MARK], rf"\rlap{{{_SPECIAL[texts.MARK]}}}") + r" \\"


def escape(text: str) -> str:
    """Escape text for LaTeX, on one line and in ASCII; a character without a command becomes its Unicode name."""
    return "".join(map(_escaped, " ".join(text.split())))


def _escaped(sign: str) -> str:
    if sign in _SPECIAL:
        return _SPECIAL[sign]
    if sign.isascii():
        return sign
    base, accent = [*unicodedata.normalize("NFD", sign), ""][:2]
    if base.isascii() and accent in _ACCENTS:
        return rf"\{_ACCENTS[accent]}{{{base}}}"
    name = unicodedata.name(sign, f"U+{ord(sign):04X}").replace("LAMDA", "LAMBDA")
    size, _, letter = name.removeprefix("GREEK ").partition(" LETTER ")
    letter = letter.lower() if size == "SMALL" else letter.capitalize()
    return rf"$\{letter}$" if name.startswith("GREEK ") and letter in _GREEK else f"({name.lower()})"
