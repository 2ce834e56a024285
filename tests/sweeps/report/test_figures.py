import hashlib
import os
import re
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sweeps.report.figures import COLOURS, LONGEST_LABEL, Plot, canvas, finished, short, to_inline_svg, to_pdf
from tests.factories import fresh


def plot(name: str = "a plot", label: str = "label") -> Plot:
    with canvas(1.5) as (figure, axes):
        axes.plot([0, 1], [0, 1], "o-", color=COLOURS["better"])
        axes.set_xlabel(label)
    return finished("arms", name, "A line", "A line from 0 to 1.", figure)


def test_a_figure_is_the_same_bytes_each_time() -> None:
    assert plot().svg == plot().svg
    assert to_pdf([plot()]) == to_pdf([plot()])


def test_its_name_is_one_for_files() -> None:
    assert plot("curve_a.b/c <d>").name == "curve_a.b_c_d_"


def test_inline_it_takes_on_the_colours_of_the_page() -> None:
    made = plot()
    inline = to_inline_svg(made)
    assert COLOURS["better"] in made.svg
    assert "var(--better)" in inline
    assert not re.search("|".join(COLOURS.values()), inline)
    assert inline.startswith("<svg")
    assert "<metadata" not in inline
    width, _, rest = inline.partition(">")[0].partition("viewBox")
    assert "width=" not in width + rest


def test_two_figures_on_a_page_share_no_name() -> None:
    first, second = (to_inline_svg(plot(name)) for name in ("first", "second"))
    known = [set(re.findall(r' id="([^"]+)"', svg)) for svg in (first, second)]
    assert known[0]
    assert not known[0] & known[1]
    for svg, names in zip((first, second), known, strict=True):
        used = re.findall(r'href="#([^"]+)"', svg) + re.findall(r"url\(#([^)]+)\)", svg)
        assert used
        assert set(used) <= names
        ET.fromstring(svg)


@pytest.mark.parametrize("label", ["a_b & <c> %", "costs $5 or $x^2$", "λ ≥ 0.5"])
def test_labels_are_text_as_written(label: str) -> None:
    root = ET.fromstring(to_inline_svg(plot(label=label)))
    assert label in {element.text for element in root.iter("{http://www.w3.org/2000/svg}text")}


def test_all_figures_are_pages_of_one_pdf() -> None:
    content = to_pdf([plot(), plot()])
    assert content.startswith(b"%PDF")
    assert content.count(b"/Type /Page\n") + content.count(b"/Type /Page ") == 2
    assert b"/Type0" in content
    assert b"/Subtype /Type3" not in content, "publishers refuse bitmap-like fonts"


@pytest.mark.slow
@given(st.text(max_size=80))
def test_labels_fit(label: str) -> None:
    shown = short(label)
    assert len(shown) <= LONGEST_LABEL
    assert shown == label if len(label) <= LONGEST_LABEL else (shown[:14], shown[-14:]) == (label[:14], label[-14:])


def test_drawing_leaves_the_global_style_alone() -> None:
    import matplotlib

    before = dict(matplotlib.rcParams)
    to_pdf([plot()])
    assert dict(matplotlib.rcParams) == before


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["module://matplotlib_inline.backend_inline", "TkAgg", "nonsense"])
def test_a_backend_or_style_of_the_user_changes_no_figure(
    backend: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "matplotlibrc").write_text("text.usetex: True\nbackend: TkAgg\naxes.facecolor: red\nsavefig.dpi: 9\n")
    monkeypatch.setenv("MATPLOTLIBRC", str(tmp_path))
    monkeypatch.setenv("MPLBACKEND", backend)
    code = """
import hashlib, os
from tests.sweeps.report.test_figures import plot
from sweeps.report.figures import to_pdf
made = plot()
to_pdf([made])
print(hashlib.sha256(made.svg.encode()).hexdigest(), os.environ["MPLBACKEND"])
"""
    expected = hashlib.sha256(plot().svg.encode()).hexdigest()
    assert fresh(code).stdout.split() == [expected, backend]
    assert os.environ["MPLBACKEND"] == backend
