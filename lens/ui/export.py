"""Take it away: numbers (CSV, JSON, Parquet), figures (HTML, PNG, SVG, PDF), and the Python that computes them."""

from __future__ import annotations

import html
import io
import json
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import streamlit as st

from lens.figures.paper import Paper
from lens.given import IN_MEMORY
from lens.load.number_format import number_format
from lens.ui.badge import is_first_figure, sample_named, weights_named
from lens.ui.embed import draw_alone, is_embedded, root_address, snippet
from lens.ui.models import prepend_bos, source_of
from lens.ui.pictures import NO_BROWSER, browser_path, forms_of, picture
from lens.ui.stage import on_stage

if TYPE_CHECKING:
    from pandas import DataFrame
    from plotly.graph_objects import Figure
    from streamlit.delta_generator import DeltaGenerator

    from lens.ui.view import ViewState

HOW_TO_RUN = "Run it in the folder of Lens, or anywhere after `pip install -e .` there."
PAPER = (
    '<!doctype html><meta charset="utf-8"><title>Lens</title>'
    "<style>body{font:16px/1.5 system-ui,sans-serif;margin:2rem;color:#1a2330;background:#fff}</style>"
)


class Export(NamedTuple):
    """What a page offers to take away. ``code`` continues after the lines that open the model and read the prompt."""

    name: str  # stem of the files
    figure: Figure | str  # HTML text such as a token strip
    table: DataFrame | Callable[[], DataFrame]  # one row per number; made when it is asked for
    payload: dict[str, object]  # everything the figure shows; arrays allowed
    code: str
    reads_prompt: bool = True  # whether ``code`` uses ``tokens``, those of the view's prompt
    opens_model: bool = True  # whether ``code`` uses ``model``; False: it stands for itself


class Print(NamedTuple):
    """How a visitor wants pictures: kept from figure to figure and page to page."""

    width: str = "One column"
    points: int = 8
    dark: bool = False
    title: bool = True
    foot: bool = True

    @property
    def paper(self) -> Paper:
        """The same for what draws."""
        return Paper(WIDTHS[self.width], self.points, self.dark, self.title)


WIDTHS = {"One column": 3.3, "Two columns": 6.8, "Slide": 10.0}  # inches
WIDTH_HELP = "How wide a picture is printed: " + ", ".join(f"{name.lower()} {w} in" for name, w in WIDTHS.items()) + "."
POINTS_HELP = "Size of the letters at axes when the picture is printed at that width, in points."
DARK_HELP = "Light letters on dark, for a slide; paper is light."
TITLE_HELP = "The figure's title and the definition of its number above it."
FOOT_HELP = "One small line below it: model and checkpoint, number format, sample, address of this view."
PICTURE_HELP = {
    "png": "two pixels for each of the print",
    "svg": "letters stay letters",
    "pdf": "letters stay letters; a page of the picture's size",
}
PRINT = "export:print"
EMBED_HELP = "This figure, alone and alive, in another web page:"


def export(view: ViewState, what: Export) -> None:
    """A folded panel of downloads. A file is made only when it is asked for (the HTML figure alone is 4.8 MB).

    Inside another page the first figure that can be taken away is what is shown, and the page ends with it.
    """
    if is_embedded():
        draw_alone(view, what.figure)
    if on_stage():
        return
    with st.expander("Export"):
        row = st.container(horizontal=True)
        _file(row, "CSV", f"{what.name}.csv", "text/csv", lambda: _table(what).to_csv(index=False).encode())
        _file(row, "JSON", f"{what.name}.json", "application/json", lambda: to_json(view, what.payload).encode())
        _file(
            row, "Parquet", f"{what.name}.parquet", "application/vnd.apache.parquet", lambda: to_parquet(_table(what))
        )
        size = "offline" if isinstance(what.figure, str) else "5 MB, offline"
        _file(
            row, f"Figure (HTML, {size})", f"{what.name}.html", "text/html", partial(to_html, what.figure, footer(view))
        )
        _pictures(row, view, what)
        code = reproduce(view, what.code, what.reads_prompt) if what.opens_model else f"{what.code.strip()}\n"
        st.caption(HOW_TO_RUN)
        st.code(code, language="python")
        if is_first_figure(what.figure, code):
            st.caption(EMBED_HELP)
            st.code(snippet(view, what.figure), language="html", wrap_lines=True)


def _pictures(row: DeltaGenerator, view: ViewState, what: Export) -> None:
    """The figure as a paper prints it: its files beside the others, and below them how it is printed."""
    if browser_path() is None:
        st.caption(NO_BROWSER)
        return
    files = [(form, row.empty()) for form in forms_of(what.figure)]
    chosen = _print_controls(what.name)
    foot = footer(view) if chosen.foot else ""
    for form, place in files:
        build = partial(picture, what.figure, form, chosen.paper, foot)
        mime = "image/svg+xml" if form == "svg" else f"{'image' if form == 'png' else 'application'}/{form}"
        _file(place, form.upper(), f"{what.name}.{form}", mime, build, PICTURE_HELP[form])


def _print_controls(name: str) -> Print:
    """How pictures are printed, for this visitor; each panel of downloads has controls of its own for the same."""
    now: Print = st.session_state.get(PRINT, Print())
    with st.container(horizontal=True, vertical_alignment="bottom"):
        key = f"{PRINT}:{name}"
        width = st.segmented_control("Width", list(WIDTHS), default=now.width, key=f"{key}:width", help=WIDTH_HELP)
        points = st.number_input("Letters (pt)", 5, 24, now.points, key=f"{key}:points", help=POINTS_HELP, width=130)
        title = st.checkbox("Title", now.title, key=f"{key}:title", help=TITLE_HELP)
        foot = st.checkbox("Model, sample, link", now.foot, key=f"{key}:foot", help=FOOT_HELP)
        dark = st.checkbox("Dark", now.dark, key=f"{key}:dark", help=DARK_HELP)
    chosen = Print(width or now.width, points, dark, title, foot)
    st.session_state[PRINT] = chosen
    return chosen


def footer(view: ViewState) -> str:
    """What a picture is of: model and checkpoint, number format, sample, and the address that shows it again."""
    return " · ".join([*weights_named(), *filter(None, (sample_named(), view.link(root_address(view))))])


def reproduce(view: ViewState, code: str, reads_prompt: bool = True) -> str:
    """A Python program that computes the page's number again from nothing but the installed package."""
    return f"from lens import HookedTransformer\n\n{opening(view, reads_prompt)}{code.strip()}\n"


def opening(view: ViewState, reads_prompt: bool = True, of: str = "") -> str:
    """The lines that open the view's model as ``model`` and read its prompt as ``tokens``; ``of``: put before both."""
    revision = f", revision={view['revision']!r}" if view["revision"] else ""
    cut = f", longest={view.longest}" if view.longest else ""
    tokens = f"{of}tokens = {of}model.to_tokens({view['prompt']!r}, prepend_bos={prepend_bos(view)}{cut})\n"
    form = "" if number_format() == "float32" else f", dtype={number_format()!r}"
    source = source_of(view)
    if source.startswith(IN_MEMORY):  # the object itself, in the process that gave it
        model = f"from lens.given import given\n\n{of}model = given({source.removeprefix(IN_MEMORY)!r})\n"
    else:
        model = f"{of}model = HookedTransformer.from_pretrained({source!r}{revision}{form})\n"
    return model + (tokens if reads_prompt else "")


def to_json(view: ViewState, payload: dict[str, object]) -> str:
    """``payload`` with the view and the weights that produced it; NaN and infinities become null, as JSON has none."""
    weights = dict(zip(("model", "dtype"), weights_named()))
    about = {"view": view.values(), "computed_with": weights} if weights else {"view": view.values()}
    return json.dumps({**about, **_plain(payload)}, indent=1, allow_nan=False, ensure_ascii=False)


def to_html(figure: Figure | str, foot: str = "") -> bytes:
    """One file that opens without a network and needs no page around it; ``foot`` is a line below the figure."""
    line = f'<p style="font:11px/1.4 system-ui,sans-serif">{html.escape(foot)}</p>' if foot else ""
    if isinstance(figure, str):
        return f"{PAPER}{figure}{line}".encode()
    from lens.figures.theme import standalone

    page = standalone(figure).to_html(include_plotlyjs=True, full_html=True)
    return f"{line}</body>".join(page.rsplit("</body>", 1)).encode()


def to_parquet(table: DataFrame) -> bytes:
    """The table with the types of its columns; a column of several types is written as text."""
    mixed = [name for name, column in table.items() if column.dtype == object]
    written = io.BytesIO()
    table.astype(dict.fromkeys(mixed, "string")).to_parquet(written, index=False)
    return written.getvalue()


def _file(
    row: DeltaGenerator, label: str, file_name: str, mime: str, build: Callable[[], bytes], help: str = ""
) -> None:
    help = f"{file_name}: {help}" if help else file_name
    row.download_button(label, build, file_name, mime, key=f"export:{file_name}", on_click="ignore", help=help)


def _table(what: Export) -> DataFrame:
    return what.table() if callable(what.table) else what.table


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, (np.ndarray, np.generic)):
        return _plain(value.tolist())
    if isinstance(value, complex):
        return {"re": _plain(value.real), "im": _plain(value.imag)}
    return None if isinstance(value, float) and not np.isfinite(value) else value
