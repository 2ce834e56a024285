"""How figures look and how they leave: as SVG that takes on a page's colours, as SVG and PDF for a paper."""

import io
import math
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Group = Literal["arms", "search", "winners"]

WIDTH = 4.8  # inches: a phone shows it without small print, a page shows two side by side
ROW = 0.27  # inches a row of text takes
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
"""The colours of figures; a page has each as a variable of this name, and so shows them as its reader likes it."""

SERIES = {
    "series-1": "#2f6690",
    "series-2": "#b8602a",
    "series-3": "#3c7d55",
    "series-4": "#86528f",
    "series-5": "#a3833a",
    "series-6": "#9a4a5c",
}
"""One colour per arm where a figure has up to six of them."""

_STYLE: dict[Any, Any] = {
    "font.family": "sans-serif",
    "font.size": 8.5,
    "text.parse_math": False,  # a dollar sign in a name is a dollar sign
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
    """A figure and what it says.

    Args:
        group: Where it belongs: the study's arms, its search, or the search's winners on fresh seeds.
        name: For files: letters, digits, ``_ . -``.
        title: Above it on a page.
        alt: What it shows, for a reader who cannot see it.
        figure: Matplotlib's.
        svg: The figure as SVG by itself, the same bytes for the same figure.
    """

    group: Group
    name: str
    title: str
    alt: str
    figure: "Figure"
    svg: str


@contextmanager
def canvas(height: float, width: float = WIDTH) -> "Iterator[tuple[Figure, Axes]]":
    """A figure with one pair of axes, both in the style of the report; sizes in inches."""
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    with rc_context(_STYLE):
        figure = Figure(figsize=(width, height), layout="constrained")
        axes = figure.add_subplot()
        axes.set_axisbelow(True)
        axes.tick_params(length=0)
        yield figure, axes


def finished(group: Group, name: str, title: str, alt: str, figure: "Figure") -> Plot:
    """A figure that is drawn, with its words; its layout is worked out here, once for all forms."""
    from matplotlib import rc_context

    text = io.StringIO()
    with rc_context(_STYLE):
        figure.savefig(text, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
        figure.set_layout_engine("none")
    return Plot(group, file_name(name), title, alt, figure, text.getvalue())


def to_pdf(plots: Sequence[Plot]) -> bytes:
    """Figures as one PDF with a page for each, in their order, and the fonts in it once."""
    from matplotlib import rc_context
    from matplotlib.backends.backend_pdf import PdfPages

    content = io.BytesIO()
    with rc_context(_STYLE), PdfPages(content, metadata={"CreationDate": None}) as pages:
        for plot in plots:
            pages.savefig(plot.figure, transparent=True)
    return content.getvalue()


def to_inline_svg(plot: Plot) -> str:
    """A figure as part of an HTML page: in the page's colours and font, with names of its own."""
    svg = plot.svg[plot.svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r' (?:width|height)="[\d.]+pt"', "", svg, count=2)
    svg = re.sub(r'(\bid="|href="#|url\(#)', rf"\g<1>{plot.name}-", svg)
    for name, colour in (COLOURS | SERIES).items():
        svg = svg.replace(colour, f"var(--{name})")
    return svg


def short(label: str, longest: int = LONGEST_LABEL) -> str:
    """A label that fits: the middle of a long one is left out, since arms differ at both ends."""
    half = (longest - 1) // 2
    return label if len(label) <= longest else f"{label[: longest - 1 - half]}…{label[-half:]}"


def file_name(text: str) -> str:
    """A name for files that says what is in them."""
    return re.sub(r"[^A-Za-z0-9.-]+", "_", text)


def number(value: float | None) -> float:
    """A number for a figure; what does not exist is NaN, which is not drawn."""
    return math.nan if value is None else value
