"""The frame around every page: page settings, menu, controls, header, errors, address.

    with frame("Attention", question="Where does each head look?") as view:
        ...

Everything the frame draws is on screen before the page imports torch.
"""

import html
import logging
import sys
import traceback
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from importlib import import_module
from pathlib import Path

import streamlit as st

from lens.ui import controls, first_paint, parts, stage, workshop
from lens.ui.badge import start_run
from lens.ui.by_hand import is_closed
from lens.ui.components import component
from lens.ui.embed import STYLE as EMBED_STYLE
from lens.ui.embed import is_embedded
from lens.ui.ending import PageOver, end_page
from lens.ui.fields import LOCAL, Field, short
from lens.ui.findings import draw_pin
from lens.ui.garbage import set_aside, tidy
from lens.ui.limits import limits
from lens.ui.memory import memory_control
from lens.ui.menu import MENU, draw_menu, page_link, page_of, present
from lens.ui.models import check_model
from lens.ui.page import IMPORTS, Page
from lens.ui.shared.chain.steps import draw_next, draw_steps
from lens.ui.shared.compare.asked import called, stop_button
from lens.ui.shared.tour.panel import check_tour, draw_tour
from lens.ui.stage import on_stage, start_stage
from lens.ui.turns import DRAWING
from lens.ui.view import REFUSED, ViewState, open_view

ASSETS = Path(__file__).parent / "assets"
PACKAGE = Path(__file__).parents[1]
SIDEBAR = 230  # pixels
SUMMARY = 160  # characters of the prompt in the folded controls
CLOSED = (
    "{} was opened by hand on this machine. An address opens no folder: press **Open again**, under the model's name."
)
LOG = logging.getLogger(__name__)


@contextmanager
def frame(title: str, question: str, options: Iterable[Field] = ()) -> Iterator[ViewState]:
    """Draw what all pages share and yield the view; turn what goes wrong inside into a sentence.

    ``options`` are the page's own fields of the address (``lens.ui.fields``). A ValueError, KeyError or OSError that
    Lens raises becomes one sentence and the end of the page, anything else a sentence and a report.
    """
    page = page_of(title)
    window = "Lens" if page.path == "" else f"{title} · Lens"
    st.set_page_config(window, layout="wide", initial_sidebar_state=SIDEBAR)
    st.html(ASSETS / "frame.css")
    st.html(ASSETS / "charts.css")
    st.html(f"<script>{(ASSETS / 'go.js').read_text(encoding='utf-8')}</script>", unsafe_allow_javascript=True)
    view = open_view(title, page.path, options)
    check_model(view)
    workshop.start(view, [page.name for page in MENU])
    if REFUSED in st.session_state:
        view.note(st.session_state.pop(REFUSED))
    if is_embedded():
        st.html(EMBED_STYLE)
        start_run(st.empty())
    elif start_stage(view):
        stage.header(page, question, view)
        start_run(st.container(key="badge").empty())
        _noting(view)
    else:
        with st.sidebar:
            st.html('<div class="lens-brand">Lens</div>')
            draw_menu(view)
            workshop.draw_exit(view)
        _header(page, question, view)
    st.set_page_config(page_icon=str(ASSETS / "icon.svg"))  # last: it imports what reads pictures
    try:
        with st.sidebar:
            memory_control()
            component("keys")(key="keys", data={}, height=1)
        if is_closed(view["model"]):
            st.info(CLOSED.format(short(view["model"].removeprefix(LOCAL))), icon=":material/folder_open:")
            end_page()
        if not workshop.is_allowed(page.name):
            _say_not_in_workshop(view, page)
        yield view
    except PageOver:
        st.stop()
    except Exception as error:  # noqa: BLE001 - the frame is the one place that turns errors into sentences
        _report(error)
        st.stop()


def show_page(page: Page) -> None:
    """The whole of a page: the frame, then what its ``body`` draws, which is imported when the frame is on screen."""
    with DRAWING.turn(page.name), frame(page.title, page.question, page.options) as view:
        tour = None
        if not on_stage() and not is_embedded():
            tour = draw_tour(view, page)
            draw_steps(view, page)
            first_paint.draw_kept(view, page, parts.notice)
        with IMPORTS:
            started = "torch" in sys.modules
            body = import_module(f"lens.ui.pages.{page.name}.body")
            if not started and "torch" in sys.modules:
                import_module("transformers")  # here, not in two threads at once: it changes places with another module
                set_aside()
        body.draw(view)
        first_paint.give_way()
        check_tour(view, page, tour)
        draw_pin(view, page)
        if not on_stage():
            draw_next(view, page)
    tidy()


def _say_not_in_workshop(view: ViewState, page: Page) -> None:
    """Which pages there are instead; the page ends."""
    titles = [other.title for other in present()]
    st.info(workshop.NOT_HERE.format(page.title, ", ".join(titles)), icon=":material/school:")
    for title in titles:
        page_link(view, title, title, with_icon=True)
    workshop.exit_button(view, "page")
    end_page()


def _header(page: Page, question: str, view: ViewState) -> None:
    """Title, badge, controls and notes; badge and notes are redrawn in their places whenever they change."""
    left, right = st.columns([3, 2], vertical_alignment="bottom")
    left.html(f'<h1 class="lens-title">{html.escape(page.title)}<i>: </i><small>{html.escape(question)}</small></h1>')
    start_run(right.empty())
    strip = st.expander(_summary(page, view), is_closed(view["model"]), key="strip", icon=":material/tune:")
    with strip:
        model, *prompt, side = st.columns([1.15, 2.3, 1.15] if page.prompt else [1, 1], gap="small")
        with model:
            controls.model_control(view)
            chips = st.empty()
            view.repinned = partial(_draw_pins, view, chips)
            view.repinned()
        for column in prompt:
            with column:
                controls.prompt_control(view)
        with side:
            controls.bos_control(view)
            *examples, link = st.columns(1 + len(prompt), gap="small")
            for column in examples:
                with column:
                    controls.example_control(view)
            with link:
                controls.link_control(view)
        if page.compares:
            _draw_second(page, view)
    _noting(view)


def _noting(view: ViewState) -> None:
    """A place for the notes, drawn again whenever one comes."""
    view.noted = partial(_draw_notes, view, st.empty())
    view.noted()


def _draw_second(page: Page, view: ViewState) -> None:
    """What stands beside the model and the prompt above: a second row of the controls, in the same columns."""
    model, *prompt, side = st.columns([1.15, 2.3, 1.15] if page.prompt else [1, 1], gap="small")
    with model:
        controls.with_model_control(view)
    for column in prompt:
        with column:
            controls.with_prompt_control(view)
    with side:
        stop_button(view, "strip")


def _summary(page: Page, view: ViewState) -> str:
    """What the folded controls hold, in one line of Markdown; what a visitor typed stands in code, where nothing of it
    means anything."""
    parts = [view["model"].removeprefix(LOCAL), view["prompt"] if page.prompt else ""]
    beside = [called(view["with_model"]), view["with_prompt"] if page.prompt else ""] if page.compares else []
    pins = " ".join(map(str, view["pins"])) or "no head"
    written, second = ([_as_code(part) for part in of if part.strip()] for of in (parts, beside))
    return " ".join([*written, *(["beside", *second] if second else []), f"BOS {view['bos']} · {pins} pinned"])


def _as_code(text: str) -> str:
    return "`` " + " ".join(text.split())[:SUMMARY].replace("`", "'") + " ``"


def _draw_pins(view: ViewState, slot) -> None:
    with slot.container():
        controls.pins_control(view)


def _draw_notes(view: ViewState, slot) -> None:
    if view.notes:
        lines = "".join(f"<li>{html.escape(note[:1].upper() + note[1:])}.</li>" for note in view.notes)
        slot.html(f'<ul class="lens-notes" role="status">{lines}</ul>')


def _report(error: Exception) -> None:
    """One sentence for an error that Lens raised on purpose; a sentence, a log entry and a report for any other."""
    if _expected(error):
        LOG.info("shown to the visitor: %s", error)
        st.error(str(error.args[0] if isinstance(error, KeyError) and error.args else error), icon=":material/error:")
        return
    LOG.error("unexpected error in a page", exc_info=error)
    st.error(f"This page failed with an unexpected {type(error).__name__}. Nothing it shows below can be relied on.")
    if not limits().hosted:
        with st.expander("Report"):
            st.code("".join(traceback.format_exception(error)), language="text")


def _expected(error: Exception) -> bool:
    """Whether the message was written for people: raised in the package itself, or by a file or the network."""
    if isinstance(error, OSError):
        return True
    if not isinstance(error, (ValueError, KeyError)):
        return False
    places = [Path(step.filename) for step in traceback.extract_tb(error.__traceback__)]
    return bool(places) and places[-1].is_relative_to(PACKAGE)
