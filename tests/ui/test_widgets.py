"""Widgets bound to the view. Their browser side is in tests/browser."""

import pytest

from lens.ui.estimate import forward_seconds
from lens.ui.limits import AT_HOME
from tests.analysis.shaken import make_model
from tests.ui.conftest import bound, html

PAGE = """
import streamlit as st
from lens.ui import widgets as w
from lens.ui.fields import choice, flag, integer, text
from lens.ui.frame import frame
AB = ("a", "b")
OPTIONS = [choice("one", "a", AB), choice("row", "a", AB), integer("slid", 1, 0, 9), integer("box", 1, 0, 9),
           flag("on", False),
           text("long", "x", 99), text("short", "x", 99), choice("tab", "a", AB), flag("open", False)]
def second(opened):
    st.markdown(f"b {opened}")
with frame("Tokens", question="?", options=OPTIONS) as view:
    w.select(view, "one", AB, "One", "help")
    w.segmented(view, "row", AB, "Row", "help")
    w.slider(view, "slid", (0, 9), "Slid", "help")
    w.number(view, "box", (0, 9), "Box", "help")
    w.toggle(view, "on", "On", "help")
    w.text_area(view, "long", "Long", "help")
    w.text_line(view, "short", "Short", "help")
    box = w.fold(view, "open", "Fold")
    w.show_tabs(view, "tab", {"a": ("First", st.markdown), "b": ("Second", second)}, box.open)
"""
QUERY = {
    "one": "b",
    "row": "b",
    "slid": "7",
    "box": "8",
    "on": "on",
    "long": "yy",
    "short": " z",
    "tab": "b",
    "open": "on",
}


@pytest.fixture
def page(app):
    at = app(PAGE)
    at.query_params.update(QUERY)
    return at.run()


def test_widgets_show_the_address(page):
    assert not page.exception
    assert page.selectbox(key="view:one").value == "b"
    assert page.text_input(key="view:short").value == " z"
    assert page.markdown[-1].value == "b True"
    assert page.query_params == QUERY


def test_a_browser_that_misses_the_seed_falls_back_to_the_same_values(page):
    """Interrupted by another run, it sends a widget's own default back as if somebody had chosen it."""
    for at in (page, page.run()):
        assert at.selectbox(key="view:one").proto.default == 1
        assert list(at.segmented_control(key="view:row").proto.default) == [1]
        assert list(at.slider(key="view:slid").proto.default) == [7]
        assert at.number_input(key="view:box").proto.default == 8
        assert at.toggle(key="view:on").proto.default is True
        assert at.text_area(key="view:long").proto.default == "yy"
        assert at.text_input(key="view:short").proto.default == " z"
        assert at.text_area(key="view:prompt").proto.default == at.text_area(key="view:prompt").value


def test_changes_go_to_the_address_and_defaults_follow(page):
    page.number_input(key="view:box").set_value(3).run()
    page.text_input(key="view:short").set_value("q").run()
    assert page.query_params == QUERY | {"box": "3", "short": "q"}
    assert page.number_input(key="view:box").proto.default == 3


def test_an_estimate_grows_with_tokens_and_weights():
    small, large = make_model(), make_model(d_mlp=240)
    assert forward_seconds(small, 20) == pytest.approx(2 * forward_seconds(small, 10))
    assert forward_seconds(large, 10) > forward_seconds(small, 10)


MOVED = """
from lens.ui.fields import choice, integer
from lens.ui.frame import frame
from lens.ui import widgets as w
with frame("Home", question="?", options=[choice("row", "a", ("a", "b")), integer("box", 1, 0, 9)]) as view:
    w.segmented(view, "row", ("a", "b"), "Row", "help")
    w.number(view, "box", (0, 9), "Box", "help")
    w.button("Pin", "help", view.pin, 3, 1)
    w.button("Move", "help", lambda: view.set(box=5))
"""


def test_what_a_browser_still_shows_does_not_undo_a_click(app):
    """The browser answers with the widgets of the run before last, because it has not drawn the last one yet."""
    at = app(MOVED).run()
    at.multiselect(key="view:pins").set_value(["2.0"]).run()
    shown = at._tree.get_widget_states()
    at.button[-2].click()
    at.button[-1].click().run()
    assert at.query_params == {"layer": "3", "head": "1", "pins": "2.0,3.1", "box": "5"}
    row = next(state for state in shown.widgets if "view:row" in state.id)
    row.string_array_value.data[:] = ["b"]
    at._run(shown)
    assert at.query_params == {"layer": "3", "head": "1", "pins": "2.0,3.1", "box": "5", "row": "b"}


def test_a_text_that_is_too_long_is_cut_with_a_sentence(page):
    """The box itself knows no limit: with one, a browser would refuse to paste and say nothing."""
    for kind, name in (("text_area", "long"), ("text_input", "short")):
        box = bound(getattr(page, kind), name)
        assert box.proto.max_chars == 0
        box.set_value("z" * 120).run()
        assert page.query_params[name] == "z" * 99
        assert bound(getattr(page, kind), name).value == "z" * 99
        assert f"Only the first 99 of 120 characters of {name} are kept." in html(page)
    page.run()
    assert "are kept" not in html(page)


def test_the_prompt_is_cut_with_a_sentence(page):
    bound(page.text_area, "prompt").set_value("p" * (AT_HOME.prompt_chars + 1)).run()
    assert bound(page.text_area, "prompt").value == "p" * AT_HOME.prompt_chars
    assert "Only the first 4,000 of 4,001 characters of the prompt are kept." in html(page)


RELABELLED = """
from lens.ui.fields import choice
from lens.ui.frame import frame
from lens.ui import widgets as w
with frame("Home", question="?", options=[choice("m", "own", ("own", "b")), choice("by", "x", ("x", "y"))]) as view:
    by = w.segmented(view, "by", ("x", "y"), "By", "help")
    w.select(view, "m", ("own", "b"), "Metric", "help", format_func={"own": f"its own: {by}", "b": "B"}.get)
"""


def test_a_choice_that_is_written_in_other_words_gets_a_widget_that_shows_them(app):
    """A browser goes on showing the words that its widget was drawn with, as long as the widget is the same."""
    at = app(RELABELLED).run()
    first = bound(at.selectbox, "m")
    bound(at.segmented_control, "by").set_value("y").run()
    second = bound(at.selectbox, "m")
    assert (first.key, second.key) == ("view:m", "view:m:1")
    assert list(second.proto.options) == ["its own: y", "B"]
    at.run()
    assert bound(at.selectbox, "m").key == "view:m:1"
