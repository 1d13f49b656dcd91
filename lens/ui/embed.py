"""One figure without the frame around it, for an ``<iframe>`` of another page: an address with ``embed=true``.

That word is Streamlit's own: it takes its toolbar away as well, and keeps the word out of what a page can read.
"""

from __future__ import annotations

import html
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import streamlit as st

from lens.ui.badge import weights_named
from lens.ui.ending import end_page
from lens.ui.heading import heading_html

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

    from lens.ui.view import ViewState

STYLE = Path(__file__).parent / "assets" / "embed.css"
HEIGHT = 520  # pixels of the frame that is offered, where a figure says nothing of its own
FOOT = 40  # pixels below the figure


def is_embedded() -> bool:
    """Whether this visitor sees the page inside another one, as one figure."""
    return bool(st.context.is_embedded)


def root_address(view: ViewState) -> str:
    """Where the app begins; "" where the server is not asked by a browser."""
    base = (st.context.url or "").partition("?")[0].rstrip("/")
    return base.removesuffix("/" + view.path) if view.path else base


def snippet(view: ViewState, figure: Figure | str) -> str:
    """The HTML that shows this view's figure in another page."""
    link = view.link(root_address(view))
    source = html.escape(f"{link}{'&' if '?' in link else '?'}embed=true")
    own = None if isinstance(figure, str) else figure.layout.height
    height = int(own or HEIGHT) + FOOT
    return f'<iframe src="{source}" width="100%" height="{height}" style="border:0" title="Lens"></iframe>'


def draw_alone(view: ViewState, figure: Figure | str) -> NoReturn:
    """The figure, what it is of, and the way to its page; nothing else of the page is seen."""
    link = html.escape(view.link(root_address(view)))
    with st.container(key="embed"):
        if isinstance(figure, str):
            st.html(figure)
        else:
            st.html(heading_html(figure.to_dict()["layout"]))
            st.plotly_chart(figure, key="embed:figure", config={"displaylogo": False})
        about = " · ".join(map(html.escape, weights_named()))
        st.html(f'<p class="lens-embed">{about} · <a href="{link}" target="_blank" rel="noopener">open in Lens</a></p>')
    end_page()
