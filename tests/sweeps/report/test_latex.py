import re
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sweeps.report import texts
from sweeps.report.latex import COLUMNS, escape, to_latex
from sweeps.report.table import Report

DOCUMENT = "\\documentclass{article}\n\\usepackage{booktabs}\n\\begin{document}\n%s\n\\end{document}\n"


def tables(latex: str) -> list[list[list[str]]]:
    """The cells of each tabular's rows, blocks' heads left out."""
    found = []
    for table in latex.split(r"\toprule")[1:]:
        lines = [line for line in table.partition(r"\bottomrule")[0].splitlines() if line and line != r"\midrule"]
        assert all(line.endswith(r" \\") for line in lines)
        rows = [line.removesuffix(r" \\") for line in lines if r"\multicolumn" not in line]
        found.append([[cell.strip() for cell in re.split(r"(?<!\\)&", row)] for row in rows])
    return found


def is_balanced(latex: str) -> bool:
    depth = 0
    for sign in re.findall(r"\\.|[{}]", latex, flags=re.DOTALL):
        depth += {"{": 1, "}": -1}.get(sign, 0)
        if depth < 0:
            return False
    return depth == 0


def test_every_row_fills_the_columns(report: Report) -> None:
    latex = to_latex(replace(report, contrasts=()))
    assert latex.isascii()
    assert is_balanced(latex)
    first, second, *winners = tables(latex)
    arms = first + second[1:]  # seven arms of four metrics are too long for one page
    float_ = [("begin", "table"), ("begin", "tabular"), ("end", "tabular"), ("end", "table")]
    assert re.findall(r"\\(begin|end)\{(\w+)\}", latex) == 4 * float_
    assert {len(cells) for table in (arms, *winners) for cells in table} == {len(COLUMNS)}
    assert report.search is not None
    assert len(arms) == 1 + len(report.rows) * len(report.metrics)
    assert sum(len(table) - 1 for table in winners) == len(report.search.confirmed) * len(report.metrics)
    assert latex.count(r"\multicolumn{5}") == 2 * len(report.metrics)


def test_a_long_table_goes_on_in_the_next_float(report: Report) -> None:
    many = tuple(replace(report.rows[1], id=f"arm {number}") for number in range(9))
    latex = to_latex(replace(report, rows=(report.rows[0], *many), search=None, contrasts=()))
    assert [len(table) for table in tables(latex)] == [1 + 2 * 10, 1 + 2 * 10]
    assert re.findall(r"\\label\{(.+)\}", latex) == ["tab:reported", "tab:reported-2"]
    assert r"\caption[reported]{reported, continued.}" in latex


def test_numbers_are_those_of_the_table(report: Report) -> None:
    found = tables(to_latex(report))[0]
    entries = texts.entries(report.rows, report.metrics[0].key)
    marked = next(place for place, entry in enumerate(entries) if entry.mark and entry.difference[0] == "-")
    arm, mean, change, _, n = found[1 + marked]
    assert arm == escape(report.rows[marked].id)
    assert mean == entries[marked].mean.replace("±", r"$\pm$")
    assert change.startswith("$-$" + entries[marked].difference[1:])
    assert change.endswith(r"{]}\rlap{$^{*}$}")
    assert int(n) == report.rows[marked].metrics[report.metrics[0].key].n


def test_the_caption_says_how_the_numbers_came_about(report: Report) -> None:
    caption = to_latex(report).partition(r"\caption[reported]{")[2].partition("\\label")[0]
    for words in (
        "sign-flip",
        "max-T",
        "9 seeds",
        "2 clips",
        r"shapes\_clip",
        "commit",
        r"corrected p at most 0.05",
        "noise=removed (1 diverged, 1 pruned)",
    ):
        assert words in caption
    assert r"\$1 \#2 \{\} \textasciitilde{}\textasciicircum{}" in caption
    assert r"$\lambda$ $\geq$ 0.5" in caption


@given(st.text(max_size=60))
def test_any_text_is_safe(text: str) -> None:
    latex = escape(text)
    assert latex.isascii()
    assert "\n" not in latex
    assert is_balanced(latex)
    bare = re.sub(r"\\[a-zA-Z]+\{\}|\\.|\$[^$]*\$|\{[\[\]]\}", "", latex)
    assert not set(bare) & set("&%$#_~^<>|*[]\\"), f"{latex!r} leaves {bare!r}"


@pytest.mark.parametrize(
    ("text", "latex"),
    [
        ("a_b & <c> %", r"a\_b \& $<$c$>$ \%"),
        ("μ = λ → ∞", r"$\mu$ = $\lambda$ $\rightarrow$ $\infty$"),
        ("naïve Čech", r"na\"{i}ve \v{C}ech"),
        ("[0, 1]", "{[}0, 1{]}"),
        ("漢", "(cjk unified ideograph-6f22)"),
        ("two\nlines", "two lines"),
    ],
)
def test_signs_have_their_commands(text: str, latex: str) -> None:
    assert escape(text) == latex


def _compiled(latex: str, folder: Path) -> str:
    """What TeX says of an article with the table."""
    path = folder / "table.tex"
    path.write_text(DOCUMENT % latex, encoding="utf-8")
    command = shutil.which("pdflatex") or shutil.which("tectonic")
    assert command is not None
    options = ["-halt-on-error", "-interaction=nonstopmode"] if command.endswith("pdflatex") else []
    done = subprocess.run([command, *options, path.name], cwd=folder, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    assert path.with_suffix(".pdf").stat().st_size > 0
    return done.stdout


@pytest.mark.skipif(
    not (shutil.which("pdflatex") or shutil.which("tectonic")), reason="no TeX here; see the parsed form"
)
def test_it_compiles_with_booktabs_alone(report: Report, nothing_scored: Report, tmp_path: Path) -> None:
    odd = replace(report.rows[1], id='[a_b] & <c> % $x^2$ #1 {} ~ \\ "q" é Ł Ω 漢 *')
    for number, table in enumerate((report, replace(report, rows=(report.rows[0], odd)), nothing_scored)):
        folder = tmp_path / str(number)
        folder.mkdir()
        said = _compiled(to_latex(table), folder)
        assert "Overfull" not in said or table is not report, said
        assert "Float too large" not in said
