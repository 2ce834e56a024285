import base64
import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest

from sweeps.report import page, texts
from sweeps.report.clips import films
from sweeps.report.figures import Plot
from sweeps.report.page import to_html
from sweeps.report.plots import plots
from sweeps.report.table import Report
from sweeps.results.comparison import ArmRow
from sweeps.results.ledger import Ledger
from sweeps.statistics.paired import ALPHA
from sweeps.study.words import sampled_text

VOID = {"meta", "link", "img", "br", "hr", "input", "wbr"}


class Page(HTMLParser):
    """What a browser finds: elements with their attributes, text without tags; unclosed elements are an error."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.words: list[str] = []
        self.headings: list[str] = []
        self._open: list[str] = []
        self._is_broken = False
        self.feed(html)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._is_broken = tag == "wbr"
        self.elements.append((tag, {name: value or "" for name, value in attrs}))
        if tag not in VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {name: value or "" for name, value in attrs}))

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self._open and self._open[-1] not in ("style", "script"):
            before = self.words.pop() if self._is_broken else ""  # a place where a name may break is no space
            self.words.append(before + data)
        if self._open and self._open[-1] == "h2":
            self.headings.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())

    def all(self, tag: str) -> list[dict[str, str]]:
        return [attributes for found, attributes in self.elements if found == tag]


@pytest.fixture(scope="module")
def html(report: Report, drawn: list[Plot], ledger: Ledger) -> str:
    return to_html(report, drawn, films(report, ledger))


def test_nothing_is_fetched(html: str) -> None:
    seen = Page(html)
    fetching = ("src", "href", "xlink:href", "srcset", "poster", "data", "action")
    for tag, attributes in seen.elements:
        for name in fetching:
            if name in attributes:
                assert attributes[name].startswith(("data:", "#")), f"{tag} {name}={attributes[name][:60]}"
    assert not re.search(r"@import|url\((?!#)", html)
    assert seen.all("script") == []
    assert "<base" not in html


def test_what_is_embedded_is_whole(html: str) -> None:
    heads = {"image/png": b"\x89PNG", "video/mp4": b"ftyp"}
    sources = [attributes["src"] for tag in ("img", "video") for attributes in Page(html).all(tag)]
    assert len(sources) == 2 * 6 * 2, "six arms have clips: two clips each, as strip and as film"
    for source in sources:
        kind, _, content = source.removeprefix("data:").partition(";base64,")
        assert heads[kind] in base64.b64decode(content, validate=True)[:16]


def test_the_table_has_everything(report: Report, html: str) -> None:
    text = Page(html).text
    for metric in report.metrics:
        for row, entry in zip(report.rows, texts.entries(report.rows, metric.key), strict=True):
            assert row.id in text
            assert entry.mean in text
            assert texts.typeset(entry.difference) in text
            assert texts.typeset(entry.interval) in text
            assert entry.finding in text
    for words in ("1 diverged, 1 pruned", "1 missing", "1 with other code", "higher is better", "lower is better"):
        assert words in text
    for remark in (*texts.legend(report), *report.caption.splitlines(), report.question, *report.notes, *report.errors):
        assert remark in text
    assert "62 of 63" not in text
    assert "60 of 63" in text, "one diverged, one pruned, one missing"
    marks = sum(texts.is_marked(summary) for row in report.rows for summary in row.metrics.values())
    lines = [line for metric in report.metrics for line in texts.tuned_lines(report, metric.key)]
    marks += sum(bool(entry.mark) for line in lines for entry in (line.at_control_settings, line.at_best_settings))
    assert report.search is not None
    marks += sum(texts.is_marked(summary) for row in report.search.confirmed for summary in row.metrics.values())
    marks += sum(one.p_corrected <= ALPHA for row in report.contrasts for one in row.metrics.values())
    assert 0 < marks == html.count('<span class="mark">*</span>')


def test_the_search_has_its_tables_and_figures(report: Report, drawn: list[Plot], html: str) -> None:
    assert report.search is not None
    seen = Page(html)
    assert texts.search_heading(report.search) in seen.text
    assert f"All {len(report.search.trials)} trials" in seen.text
    for trial in report.search.trials:
        assert sampled_text(trial.sampled) in seen.text
    for row in report.search.confirmed:
        assert row.changes in seen.text
    assert len(seen.all("svg")) == len(drawn)


def test_tables_and_pictures_speak_to_those_who_cannot_see(drawn: list[Plot], html: str) -> None:
    seen = Page(html)
    assert seen.all("html")[0]["lang"] == "en"
    assert all(image["alt"] for image in seen.all("img"))
    assert all(video["aria-label"] for video in seen.all("video"))
    assert all(head.get("scope") in ("col", "row") for head in seen.all("th"))
    labels = [box["aria-label"] for box in seen.all("div") if box.get("role") == "img"]
    assert labels == [plot.alt for plot in drawn]
    assert all(box["aria-label"] and box["tabindex"] == "0" for box in seen.all("div") if box.get("role") == "region")


def test_clips_wait_to_be_played(html: str) -> None:
    for video in Page(html).all("video"):
        assert {"controls", "loop", "muted"} <= video.keys()
        assert "autoplay" not in video


def test_long_names_break_between_their_words(report: Report) -> None:
    name = "temporal_attention=removed+text_decomposer=removed+<a,b>"
    html = to_html(replace(report, rows=(report.rows[0], replace(report.rows[1], id=name))), [], [])
    assert "temporal_<wbr>attention=<wbr>removed+<wbr>text_<wbr>decomposer=<wbr>removed+<wbr>&lt;a,<wbr>b&gt;" in html
    assert name in Page(html).text


def test_small_reports_have_no_empty_parts(one_objective: Report, nothing_scored: Report) -> None:
    for report in (one_objective, nothing_scored):
        seen = Page(to_html(report, list(plots(report)), []))
        assert "Clips" not in seen.headings
    assert "Search" not in seen.headings
    assert "Figures" not in seen.headings
    assert seen.headings == ["Results", "Drift over the frames", "Hypotheses", "Cost", "Notes"]
    assert texts.NOTHING in seen.text
    assert "2 of 14" in seen.text


def test_many_trials_are_cut_and_that_is_said(report: Report, monkeypatch: pytest.MonkeyPatch) -> None:
    assert report.search is not None
    monkeypatch.setattr(page, "MOST_TRIALS", 5)
    seen = Page(to_html(report, [], []))
    assert "The first 5 trials; report.json contains all of them." in seen.text
    assert sampled_text(report.search.trials[6].sampled) not in seen.text


def test_what_many_arms_expect_is_said_once(report: Report) -> None:
    assert Page(to_html(report, [], [])).text.count("clips <come> apart & drift") == 1


ODD = "a_b & <c> % \"q\" 'p' <script>alert(1)</script> &amp; {{ 7 * 7 }}"


def named(report: Report, name: str) -> Report:
    arm: ArmRow = replace(report.rows[1], id=name, changes=name)
    return replace(report, study=name, question=name, rows=(report.rows[0], arm), caption=name, errors=(name,))


def test_odd_names_are_text(report: Report) -> None:
    seen = Page(to_html(named(report, ODD), [], []))
    assert seen.text.count(ODD) == 10, "title, heading, question, caption, failure; the arm's name, change, numbers"
    assert seen.all("script") == []
