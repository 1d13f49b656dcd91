"""Take the numbers away: CSV, JSON, a self-contained HTML figure, and the Python that computes them again."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import streamlit as st

from lens.ui.models import prepend_bos, source_of

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


def export(view: ViewState, what: Export) -> None:
    """A folded panel of downloads. A file is made only when it is asked for (the HTML figure alone is 4.8 MB)."""
    with st.expander("Export"):
        row = st.container(horizontal=True)
        _file(row, "CSV", f"{what.name}.csv", "text/csv", lambda: _table(what).to_csv(index=False).encode())
        _file(row, "JSON", f"{what.name}.json", "application/json", lambda: to_json(view, what.payload).encode())
        size = "offline" if isinstance(what.figure, str) else "5 MB, offline"
        _file(row, f"Figure (HTML, {size})", f"{what.name}.html", "text/html", lambda: to_html(what.figure))
        code = reproduce(view, what.code, what.reads_prompt) if what.opens_model else f"{what.code.strip()}\n"
        st.caption(HOW_TO_RUN)
        st.code(code, language="python")


def reproduce(view: ViewState, code: str, reads_prompt: bool = True) -> str:
    """A Python program that computes the page's number again from nothing but the installed package."""
    return f"from lens import HookedTransformer\n\n{opening(view, reads_prompt)}{code.strip()}\n"


def opening(view: ViewState, reads_prompt: bool = True, of: str = "") -> str:
    """The lines that open the view's model as ``model`` and read its prompt as ``tokens``; ``of``: put before both."""
    revision = f", revision={view['revision']!r}" if view["revision"] else ""
    cut = f", longest={view.longest}" if view.longest else ""
    tokens = f"{of}tokens = {of}model.to_tokens({view['prompt']!r}, prepend_bos={prepend_bos(view)}{cut})\n"
    model = f"{of}model = HookedTransformer.from_pretrained({source_of(view)!r}{revision})\n"
    return model + (tokens if reads_prompt else "")


def to_json(view: ViewState, payload: dict[str, object]) -> str:
    """``payload`` with the view that produced it; NaN and infinities become null, as JSON has none."""
    return json.dumps({"view": view.values(), **_plain(payload)}, indent=1, allow_nan=False, ensure_ascii=False)


def to_html(figure: Figure | str) -> bytes:
    """One file that opens without a network and needs no page around it."""
    if isinstance(figure, str):
        return f"{PAPER}{figure}".encode()
    from lens.figures.theme import standalone

    return standalone(figure).to_html(include_plotlyjs=True, full_html=True).encode()


def _file(row: DeltaGenerator, label: str, file_name: str, mime: str, build: Callable[[], bytes]) -> None:
    row.download_button(label, build, file_name, mime, key=f"export:{file_name}", on_click="ignore", help=file_name)


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
