r"""The report as a LaTeX table: booktabs, nothing else; ``\input`` it into an article.

One block of rows per metric, so that the table keeps a column's width whatever the number of metrics.
"""

import unicodedata
from collections.abc import Iterator, Sequence

from sweeps.report import texts
from sweeps.report.table import Report
from sweeps.results.comparison import ArmRow
from trainables.metrics import MetricKey

MOST_LINES = 28
COLUMNS = ("arm", texts.MEAN, texts.DIFFERENCE, "corrected p", "n")

_SPECIAL = {
    "\\": r"\textbackslash{}", "{": r"\{", "}": r"\}", "$": r"\$", "&": r"\&", "%": r"\%", "#": r"\#", "_": r"\_",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": "$<$", ">": "$>$", "|": "$|$", '"': "''",
    "[": "{[}", "]": "{]}", "*": "$^{*}$",  # a row that began with one of these would be read as an option of \\
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

    Winners of a search are a table of their own, and a long table goes on in the next float. Failures and notes stand
    in the other forms.
    """
    caption = " ".join(
        filter(
            None,
            (
                report.question,
                *report.caption.splitlines(),
                *(f"{line}." for line in texts.legend(report)),
                *_lost(report.rows),
            ),
        )
    )
    floats = [*_floats(report.rows, report.metrics, caption, report.study)]
    if report.search is not None and report.search.confirmed:
        winners = report.search.confirmed
        what = f"Winners of the search on fresh seeds: {'; '.join(f'{row.id}, {row.changes}' for row in winners[1:])}."
        caption = " ".join((what, *_lost(winners)))
        floats += _floats(winners, report.metrics, caption, f"{report.study}-winners")
    floats += _effects(report)
    return "\n".join([r"% needs \usepackage{booktabs}", *floats])


def _effects(report: Report) -> Iterator[str]:
    """What the design computes from the arms, a float for each sort of effect."""
    for number, found in enumerate(texts.contrast_tables(report), 1):
        label = f"{report.study}-effects-{number}"
        yield from (r"\begin{table}", r"\centering\footnotesize\setlength{\tabcolsep}{3.5pt}")
        yield rf"\caption[{label}]{{{escape(f'{found.heading}.')}}}"
        yield from (rf"\label{{tab:{label}}}\medskip", r"\begin{tabular}{@{}lrrr@{}}", r"\toprule")
        yield _line("of", texts.DIFFERENCE, "corrected p", "n")
        for metric in report.metrics:
            yield r"\midrule"
            yield rf"\multicolumn{{4}}{{@{{}}l}}{{\textit{{{escape(texts.head(metric))}}}}} \\"
            for row, entry in zip(found.rows, found.entries[metric.key], strict=True):
                estimate = row.metrics.get(metric.key)
                numbers = (texts.p_text(estimate.p_corrected), str(estimate.found.n)) if estimate else ("", "0")
                yield _line(row.name, *map(texts.typeset, (entry.change or entry.mean, *numbers)))
        yield from (r"\bottomrule", r"\end{tabular}", r"\end{table}", "")


def _lost(rows: Sequence[ArmRow]) -> list[str]:
    """Which arms lack cells; in a table's first column there is no room for it."""
    lost = "; ".join(texts.marked(row) for row in rows if texts.lost(row))
    return [f"Not all cells count: {lost}."] if lost else []


def _floats(rows: Sequence[ArmRow], metrics: Sequence[MetricKey], caption: str, label: str) -> Iterator[str]:
    """As many metrics in a float as a page holds; at least one."""
    together = max(1, MOST_LINES // (len(rows) + 1))
    for start in range(0, len(metrics), together):
        yield from (r"\begin{table}", r"\centering\footnotesize\setlength{\tabcolsep}{3.5pt}")
        yield rf"\caption[{label}]{{{escape(caption if not start else f'{label}, continued.')}}}"
        yield rf"\label{{tab:{label}{f'-{start // together + 1}' if start else ''}}}\medskip"
        yield from (r"\begin{tabular}{@{}lrrrr@{}}", r"\toprule", _line(*COLUMNS))
        for metric in metrics[start : start + together]:
            yield from _block(rows, metric)
        if start + together >= len(metrics):
            yield from _sizes(rows)
        yield from (r"\bottomrule", r"\end{tabular}", r"\end{table}", "")


def _block(rows: Sequence[ArmRow], metric: MetricKey) -> Iterator[str]:
    yield r"\midrule"
    yield rf"\multicolumn{{{len(COLUMNS)}}}{{@{{}}l}}{{\textit{{{escape(texts.head(metric))}}}}} \\"
    for row, entry in zip(rows, texts.entries(rows, metric.key), strict=True):
        summary = row.metrics[metric.key]
        numbers = (entry.mean, entry.change, texts.p_text(summary.p_corrected), str(summary.n))
        yield _line(row.id, *map(texts.typeset, numbers))


def _sizes(rows: Sequence[ArmRow]) -> Iterator[str]:
    """What the proof counted, a block of its own below the metrics."""
    if not (sizes := texts.sizes(rows)):
        return
    yield r"\midrule"
    yield _line("", *texts.SIZES, "", "")
    for row, cells in zip(rows, sizes, strict=True):
        yield _line(row.id, *map(texts.typeset, cells), "", "")


def _line(*cells: str) -> str:
    """A row; a mark takes no room, so that numbers end below each other."""
    return " & ".join(map(escape, cells)).replace(_SPECIAL[texts.MARK], rf"\rlap{{{_SPECIAL[texts.MARK]}}}") + r" \\"


def escape(text: str) -> str:
    """Text that LaTeX sets as it is, on one line, written in ASCII alone; at worst a sign is called by its name."""
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
