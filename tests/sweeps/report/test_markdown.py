import re
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from sweeps.report import texts
from sweeps.report.markdown import escape, to_markdown
from sweeps.report.table import Report
from sweeps.statistics.paired import ALPHA

PARSER = MarkdownIt("commonmark").enable("table")


def tables(markdown: str) -> list[list[list[str]]]:
    """The cells of all tables, as a Markdown reader sees them."""
    found: list[list[list[str]]] = []
    tokens = PARSER.parse(markdown)
    for token, inner in zip(tokens, [*tokens[1:], tokens[-1]], strict=True):
        if token.type == "table_open":
            found.append([])
        elif token.type == "tr_open":
            found[-1].append([])
        elif token.type in ("th_open", "td_open"):
            found[-1][-1].append("".join(child.content for child in inner.children or ()))
    return found


def test_a_reader_sees_the_numbers(report: Report) -> None:
    arms, trends, claims, robust, front, winners, *tuned, spent = tables(to_markdown(report))
    assert arms[0] == [
        "arm", *(text for metric in report.metrics for text in (texts.head(metric), texts.DIFFERENCE)), "n"
    ]  # fmt: skip
    columns = [texts.entries(report.rows, metric.key) for metric in report.metrics]
    for place, row in enumerate(report.rows):
        expected = [text for column in columns for text in (column[place].mean, column[place].change)]
        assert arms[place + 1] == [texts.marked(row), *expected, texts.pairs(row)]
    assert [cells[0] for cells in trends[1:]] == [row.name for row in report.contrasts]
    shown = [one for one in report.robustness if one.p_corrected <= ALPHA or one.is_asymmetric]
    assert [cells[:2] for cells in robust[1:]] == [[one.arm, one.metric] for one in shown]
    assert report.search is not None
    assert len(front) == 1 + len(report.search.pareto)
    assert [cells[0] for cells in winners[1:]] == [row.id for row in report.search.confirmed]
    assert [cells[3] for cells in claims[1:]] == [claim.outcome for claim in report.claims]
    assert len(tuned) == len(report.metrics)
    for metric, table in zip(report.metrics, tuned, strict=True):
        expected = [
            [line.arm, line.at_best_settings.change or line.at_best_settings.mean]
            for line in texts.tuned_lines(report, metric.key)
        ]
        assert [[cells[0], cells[2]] for cells in table[1:]] == expected
    assert [cells[0] for cells in spent[1:]] == [row.id for row in report.rows]


def test_remarks_and_failures_stand_below(report: Report) -> None:
    markdown = to_markdown(report)
    seen = [token.content for token in PARSER.parse(markdown) if token.type == "inline"]
    plain = [re.sub(r"\\(.)", r"\1", text) for text in seen]
    assert report.question in plain
    assert set(report.caption.splitlines()) <= set(plain)
    for note in (*report.notes, *report.errors):
        assert note in plain
    assert "noise=removed (1 diverged, 1 pruned)" in markdown


def test_without_any_value_the_table_still_stands(nothing_scored: Report) -> None:
    arms, *_ = tables(to_markdown(nothing_scored))
    assert arms[1][1:3] == [texts.NOTHING, ""]
    assert arms[1][3] != texts.NOTHING
    assert all(len(cells) == len(arms[0]) for cells in arms)


@given(st.text("ab |*`<>\\#-1.=+\nλ"))
def test_text_is_shown_as_it_is(text: str) -> None:
    tokens = PARSER.parseInline(f"x {escape(text)} x")
    shown = "".join(child.content for child in tokens[0].children or ())
    assert shown.split() == f"x {text} x".split()


@given(st.text(max_size=20))
def test_any_name_takes_one_cell(name: str) -> None:
    (found,) = tables(f"| a | b |\n|---|---|\n| {escape(name)} | end |\n")
    assert found[1][1] == "end"
    assert len(found) == 2


def test_odd_names_stay_in_their_row(report: Report) -> None:
    odd = replace(report.rows[1], id="a_b & <c> %|*`\n#")
    arms = tables(to_markdown(replace(report, rows=(report.rows[0], odd))))[0]
    assert arms[2][0] == "a_b & <c> %|*` # (1 diverged, 1 pruned)"
