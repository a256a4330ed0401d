"""HEP style for figures, and figures as bytes that do not change from run to run."""

from __future__ import annotations

import io
import re
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import matplotlib as mpl
import mplhep
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

if TYPE_CHECKING:
    from collections.abc import Iterator

    from matplotlib.axes import Axes

FULL = "#000000"
FAST = "#3f90da"
BAND = "#ffa90e"
GEN = "#717581"
BAD = "#bd1f01"

_SETTINGS: Any = {
    "font.size": 14,
    "axes.labelsize": 14,
    "xtick.labelsize": 12,
    "ytick.labelsize": 12,
    "legend.fontsize": 12,
    "axes.linewidth": 1.0,
    "lines.linewidth": 1.6,
    "xtick.major.size": 7,
    "xtick.minor.size": 3.5,
    "ytick.major.size": 7,
    "ytick.minor.size": 3.5,
    "xtick.major.pad": 5,
    # ticks are what takes most of the time of drawing
    "xtick.minor.ndivs": 2,
    "ytick.minor.ndivs": 2,
    "legend.handlelength": 1.6,
    "legend.columnspacing": 1.2,
    "axes.formatter.limits": (-4, 5),
    "axes.formatter.use_mathtext": False,
    # a fixed place for titles: finding one measures every tick label several times
    "axes.titley": 1.0,
    "figure.facecolor": "white",
    "savefig.facecolor": "white",
    # the same figure gives the same bytes: ids from a fixed salt, letters as shapes
    "svg.hashsalt": "gen2reco",
    "svg.fonttype": "path",
    "path.simplify": True,
}
DPI = 110
_SHORT = re.compile(r"(\d+\.\d)\d+")


@contextmanager
def style() -> Iterator[None]:
    """HEP style, for the time of the context only; nothing global changes."""
    with mpl.rc_context():
        mpl.rcParams.update(mplhep.style.ROOT)
        mpl.rcParams.update(_SETTINGS)
        yield


def new_figure(
    width: float,
    height: float,
    *,
    left: float = 0.85,
    right: float = 0.2,
    bottom: float = 0.66,
    top: float = 0.36,
    between: tuple[float, float] = (0.0, 0.12),
) -> Figure:
    """Return an empty figure that no global state knows; all sizes in inches.

    Args:
        width: of the figure.
        height: of the figure.
        left: margin for the axis labels, fixed so that figures side by side align.
        right: margin.
        bottom: margin.
        top: margin.
        between: space between columns and between rows, relative to the axes.
    """
    figure = Figure(figsize=(width, height))
    figure.subplots_adjust(
        left=left / width,
        right=1 - right / width,
        bottom=bottom / height,
        top=1 - top / height,
        wspace=between[0],
        hspace=between[1],
    )
    return figure


def place_labels(axis: Axes, x: float = 0.3, y: float = 0.6) -> None:
    """Put axis labels at fixed distances (inches) from the axes, so that panels align."""
    figure = axis.get_figure(root=True)
    assert figure is not None
    width, height = figure.get_size_inches()
    box = axis.get_position()
    axis.xaxis.set_label_coords(1.0, -x / (height * box.height))
    place = 0.5 if axis.yaxis.label.get_horizontalalignment() == "center" else 1.0
    axis.yaxis.set_label_coords(-y / (width * box.width), place)


def hide_minor_ticks(axis: Axes) -> None:
    """No minor ticks along x: the panel below has them, and each tick costs time and bytes."""
    axis.tick_params(axis="x", which="minor", bottom=False, top=False)


def set_title(axis: Axes, left: str, right: str) -> None:
    """Write above the axes; nothing where the text is empty."""
    if left:
        axis.set_title(left, loc="left", fontsize=13)
    if right:
        axis.set_title(right, loc="right", fontsize=11)


def svg_bytes(figure: Figure) -> bytes:
    """Draw a figure as compact SVG: the same bytes each time, without date or comments."""
    stream = io.BytesIO()
    with style():
        FigureCanvasSVG(figure).print_svg(  # type: ignore[no-untyped-call]
            stream, metadata={"Date": None, "Creator": None}
        )
    text = stream.getvalue().decode("utf-8")
    text = re.sub(
        r"<!--.*?-->|<metadata>.*?</metadata>|<\?xml.*?\?>|<!DOCTYPE.*?>", "", text, flags=re.DOTALL
    )
    # a tenth of a point is finer than a screen shows; letters are drawn on a grid of their own
    for attribute in (r'\bd="[^"]*"', r'\b[xy]="[^"]*"'):
        text = re.sub(attribute, lambda found: _SHORT.sub(r"\1", found.group()), text)
    text = _share_styles(text)
    text = re.sub(r'<g id="[^"]*">', "<g>", text)
    return re.sub(r"\s*\n\s*", " ", text).replace("> <", "><").strip().encode("utf-8")


def _share_styles(text: str) -> str:
    """Move the style of markers and ticks from each use to the one definition, where all agree."""
    styles: dict[str, set[str]] = {}
    for tag in re.findall(r"<use [^>]*>", text):
        target, found = re.search(r'href="#([^"]*)"', tag), re.search(r' style="([^"]*)"', tag)
        if target:
            styles.setdefault(target.group(1), set()).add(found.group(1) if found else "")
    for name, used in styles.items():
        shared = next(iter(used))
        if len(used) > 1 or not shared:
            continue
        definition = rf'(<path id="{re.escape(name)}" [^>]*?) style="[^"]*"'
        text, found_it = re.subn(definition, rf'\1 style="{shared}"', text)
        if found_it:
            use = rf'(<use xlink:href="#{re.escape(name)}"[^>]*?) style="[^"]*"'
            text = re.sub(use, r"\1", text)
    return text


def png_bytes(figure: Figure, dpi: int = 150) -> bytes:
    """Draw a figure as PNG: the same bytes each time."""
    stream = io.BytesIO()
    with style():
        canvas = FigureCanvasAgg(figure)
        figure.set_dpi(dpi)
        canvas.print_png(stream, metadata={"Software": None})  # type: ignore[no-untyped-call]
    return stream.getvalue()
