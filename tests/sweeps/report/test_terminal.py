import io

import pytest
from rich.console import Console

from sweeps.report import terminal, texts
from sweeps.report.table import Report
from sweeps.report.terminal import print_terminal
from sweeps.study.words import sampled_text


def test_everything_is_said_off_a_terminal(report: Report, capsys: pytest.CaptureFixture[str]) -> None:
    print_terminal(report)
    printed = capsys.readouterr().out
    assert "\x1b" not in printed
    for row in report.rows:
        assert printed.count(texts.marked(row)) >= len(report.metrics)
    for metric in report.metrics:
        for entry in texts.entries(report.rows, metric.key):
            assert f" {entry.mean} " in printed
            assert entry.change in printed
            assert entry.verdict in printed
    assert all(line in printed for line in report.caption.splitlines())
    for error in report.errors:
        assert f"failed: {error}" in printed
    assert "noise=removed seed 2 (diverged): NonFiniteError: NaN at step 3 of <clip> 0 & on" in printed


def test_a_search_is_shown_with_its_winners(report: Report, capsys: pytest.CaptureFixture[str]) -> None:
    assert report.search is not None
    print_terminal(report)
    printed = capsys.readouterr().out
    assert texts.search_heading(report.search) in printed
    for trial in report.search.pareto:
        assert sampled_text(trial.sampled) in printed
    assert "Winners at fresh seeds: clip_score/shapes_clip ↑" in printed
    assert "noise=removed winner 1" in printed


def test_without_any_value_the_table_still_stands(nothing_scored: Report, capsys: pytest.CaptureFixture[str]) -> None:
    print_terminal(nothing_scored)
    printed = capsys.readouterr().out
    assert texts.NOTHING in printed
    assert "noise=removed (2 missing)" in printed


@pytest.mark.parametrize("width", [80, 100])
def test_numbers_survive_a_narrow_terminal(report: Report, width: int, monkeypatch: pytest.MonkeyPatch) -> None:
    console = Console(force_terminal=True, width=width, record=True, file=io.StringIO())
    monkeypatch.setattr(terminal, "terminal", lambda width: console)
    print_terminal(report)
    printed = console.export_text()
    for metric in report.metrics:
        for entry in texts.entries(report.rows, metric.key):
            assert entry.mean in printed
            assert entry.change in printed
    assert max(map(len, printed.splitlines())) <= width


def test_colours_follow_the_verdict(report: Report, monkeypatch: pytest.MonkeyPatch) -> None:
    console = Console(force_terminal=True, width=160, file=io.StringIO(), record=True, color_system="standard")
    monkeypatch.setattr(terminal, "terminal", lambda width: console)
    print_terminal(report)
    lines = console.export_text(styles=True).partition("Hypotheses")[0].splitlines()
    better = [line for line in lines if "better " in line]
    worse = [line for line in lines if "worse " in line]
    assert better
    assert worse
    assert all("\x1b[32m" in line for line in better)
    assert all("\x1b[31m" in line for line in worse)
