"""Style and export of figures: SVG in a page's colours, SVG and PDF for a paper."""

import io
import math
import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Group = Literal["arms", "drift", "search", "winners"]

WIDTH = 4.8  # inches: readable on a phone, two side by side on a page
ROW = 0.27  # inches per row of text
MOST_ROWS = 40
LONGEST_LABEL = 30

COLOURS = {
    "ink": "#1f2730",
    "quiet": "#66717e",
    "rule": "#d9dee5",
    "better": "#0f766e",
    "worse": "#b45309",
    "plain": "#475b73",
    "paper": "#fefefe",
}
"""Colours of figures; the page defines each as a CSS variable of this name, for its light and dark schemes."""

SERIES = {
    "series-1": "#2f6690",
    "series-2": "#b8602a",
    "series-3": "#3c7d55",
    "series-4": "#86528f",
    "series-5": "#a3833a",
    "series-6": "#9a4a5c",
}
"""Colours of arms in figures with up to six arms."""

_STYLE: dict[Any, Any] = {
    "font.family": "sans-serif",
    "font.size": 8.5,
    "text.parse_math": False,  # names may contain dollar signs
    "text.color": COLOURS["ink"],
    "axes.edgecolor": COLOURS["rule"],
    "axes.labelcolor": COLOURS["quiet"],
    "axes.spines.top": False,
    "axes.spines.right": False,
    "xtick.color": COLOURS["rule"],
    "ytick.color": COLOURS["rule"],
    "xtick.labelcolor": COLOURS["quiet"],
    "ytick.labelcolor": COLOURS["quiet"],
    "legend.frameon": False,
    "legend.fontsize": 8,
    "lines.linewidth": 1.4,
    "svg.fonttype": "none",
    "svg.hashsalt": "report",
    "pdf.fonttype": 42,
}


@dataclass(frozen=True)
class Plot:
    """A figure with its texts.

    Args:
        group: Section of the report: the arms, their drift over the frames, the search, or the search's winners at
            fresh seeds.
        name: Stem of its file names: letters, digits, ``_ . -``.
        title: Title above it on the page.
        alt: Alternative text for readers who cannot see it.
        figure: The Matplotlib figure.
        svg: The figure as a complete SVG document; deterministic.
    """

    group: Group
    name: str
    title: str
    alt: str
    figure: "Figure"
    svg: str


@contextmanager
def _styled() -> Iterator[None]:
    """Draw in the style of the report, whatever the user's own settings of Matplotlib; figures need no backend.

    Matplotlib cannot be imported where MPLBACKEND names a backend that is not installed, such as a notebook's.
    """
    backend = os.environ.pop("MPLBACKEND", None)
    try:
        from matplotlib import style
    finally:
        if backend is not None:
            os.environ["MPLBACKEND"] = backend
    with style.context(["default", _STYLE]):
        yield


@contextmanager
def panels(count: int, height: float) -> "Iterator[tuple[Figure, list[Axes]]]":
    """Make a wide figure of panels that share their axes, up to three in a row; ``height`` of a row in inches."""
    columns = 2 if count == 4 else min(count, 3)
    rows = math.ceil(count / columns)
    with _styled():
        from matplotlib.figure import Figure

        figure = Figure(figsize=(2 * WIDTH, rows * height), layout="constrained")
        grid = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False).flatten().tolist()
        for axes in grid:
            axes.set_axisbelow(True)
            axes.tick_params(length=0, labelbottom=True)
        for axes in grid[count:]:
            axes.set_visible(False)
        yield figure, grid[:count]


@contextmanager
def canvas(height: float, width: float = WIDTH) -> "Iterator[tuple[Figure, Axes]]":
    """Make a figure with one pair of axes in the style of the report; sizes in inches."""
    with _styled():
        from matplotlib.figure import Figure

        figure = Figure(figsize=(width, height), layout="constrained")
        axes = figure.add_subplot()
        axes.set_axisbelow(True)
        axes.tick_params(length=0)
        yield figure, axes


def finished(group: Group, name: str, title: str, alt: str, figure: "Figure") -> Plot:
    """Lay out a drawn figure and export it, with its texts."""
    text = io.StringIO()
    with _styled():
        figure.savefig(text, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
        figure.set_layout_engine("none")
    return Plot(group, file_name(name), title, alt, figure, text.getvalue())


def to_pdf(plots: Sequence[Plot]) -> bytes:
    """Export figures as one PDF, one page each, with shared fonts."""
    content = io.BytesIO()
    with _styled():
        from matplotlib.backends.backend_pdf import PdfPages

        with PdfPages(content, metadata={"CreationDate": None}) as pages:
            for plot in plots:
                pages.savefig(plot.figure, transparent=True)
    return content.getvalue()


def figure_files(plots: Sequence[Plot]) -> dict[str, bytes]:
    """Return the files of figures by name: one PDF, and each figure as SVG; none without figures."""
    pdf = {"figures.pdf": to_pdf(plots)} if plots else {}
    return pdf | {f"{plot.name}.svg": plot.svg.encode() for plot in plots}


def to_inline_svg(plot: Plot) -> str:
    """Prepare a figure for an HTML page: the page's colours and font, and unique ids."""
    svg = plot.svg[plot.svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r' (?:width|height)="[\d.]+pt"', "", svg, count=2)
    svg = re.sub(r'(\bid="|href="#|url\(#)', rf"\g<1>{plot.name}-", svg)
    for name, colour in (COLOURS | SERIES).items():
        svg = svg.replace(colour, f"var(--{name})")
    return svg


def short(label: str, longest: int = LONGEST_LABEL) -> str:
    """Shorten a long label in the middle, since arm names differ at both ends."""
    half = (longest - 1) // 2
    return label if len(label) <= longest else f"{label[: longest - 1 - half]}…{label[-half:]}"


def file_name(text: str) -> str:
    """Turn text into a file name."""
    return re.sub(r"[^A-Za-z0-9.-]+", "_", text)


def number(value: float | None) -> float:
    """Replace None by NaN, which is not drawn."""
    return math.nan if value is None else value
