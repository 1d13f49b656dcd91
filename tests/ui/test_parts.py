"""Pieces that pages share: clicks, exports."""

import io
import json
import math
from types import SimpleNamespace

import numpy as np
import pandas as pd
import plotly.graph_objects as go
import pytest
from streamlit.testing.v1 import AppTest

from lens.figures.theme import base_layout
from lens.tokens import NO_BOS, BosPolicy
from lens.ui.export import reproduce, to_html, to_json, to_parquet
from lens.ui.fields import common_fields, parse
from lens.ui.heading import heading_html
from lens.ui.limits import AT_HOME
from lens.ui.parts import bos_words, follow_click, metric_help
from lens.ui.view import ViewState


@pytest.fixture
def view() -> ViewState:
    fields = common_fields(AT_HOME)
    return ViewState(fields, parse(fields, {"prompt": 'say "hi"\n</script>'})[0])


def event(*points):
    return {"selection": {"points": [{"customdata": point} for point in points]}}


def head_from_event(event, view: ViewState):
    """The head that a click in a figure of heads is about, after it did what such a click does."""
    return follow_click(event, lambda head: view.click(*head))


def test_a_click_selects_a_head_and_a_second_one_pins_and_unpins_it(view):
    assert view.selected is None
    assert head_from_event(event({"0": 3, "1": 5}), view) == (3, 5)
    assert (view.selected, view.pins) == ((3, 5), ())
    head_from_event(event({"0": 3, "1": 5}), view)
    assert (view.selected, view.pins) == ((3, 5), ((3, 5),))
    head_from_event(event({"0": 1, "1": 2}), view)
    assert (view.selected, view.pins) == ((1, 2), ((3, 5),))
    for pins in ((3, 5), (1, 2)), ((3, 5),):
        head_from_event(event({"0": 1, "1": 2}), view)
        assert (view.selected, view.pins) == ((1, 2), pins)


def test_head_0_0_is_selected_like_any_other(view):
    """Without a choice it is what a page reads, but not what anybody selected."""
    assert (view.layer, view.head, view.selected, view.current()) == (0, 0, None, None)
    view.pin(2, 1)
    view.set(layer=None, head=None)
    assert (view.selected, view.current()) == (None, (2, 1))
    head_from_event(event({"0": 0, "1": 0}), view)
    assert (view.selected, view.current(), view.pins) == ((0, 0), (0, 0), ((2, 1),))
    assert view.canonical() | {"prompt": ""} == {"prompt": "", "layer": "0", "head": "0", "pins": "2.1"}


def test_an_empty_selection_changes_nothing(view):
    assert head_from_event(event(), view) is None
    assert (view.selected, view.pins) == (None, ())


def test_pins_have_a_limit_and_the_oldest_goes(view):
    for head in range(AT_HOME.pins + 2):
        view.pin(0, head)
    assert len(view.pins) == AT_HOME.pins
    assert view.pins[0] == (0, 2)


def test_an_unknown_field_lists_the_known_ones(view):
    with pytest.raises(AttributeError, match="no field 'colour'; it has model, revision"):
        _ = view.colour
    with pytest.raises(KeyError, match="no field 'colour'"):
        view.set(colour=1)


def test_json_has_the_view_and_no_nan(view):
    out = json.loads(to_json(view, {"score": np.array([1.5, math.nan]), "eig": np.complex64(1 + 2j), "n": np.int64(3)}))
    assert out["score"] == [1.5, None]
    assert out["eig"] == {"re": 1.0, "im": 2.0}
    assert out["view"]["prompt"] == view.prompt
    assert out["n"] == 3


def test_parquet_keeps_types_and_missing_values_and_writes_mixed_columns_as_text():
    table = pd.DataFrame({"head": ["0.1", "1.1"], "score": [0.5, math.nan], "n": [1, 2], "value": ["x", 3]})
    read = pd.read_parquet(io.BytesIO(to_parquet(table)))
    assert read["score"].dtype == float
    assert math.isnan(read["score"][1])
    assert (read["n"].dtype, list(read["value"]), list(read["head"])) == (int, ["x", "3"], ["0.1", "1.1"])


def test_the_python_of_an_export_is_python(view):
    code = reproduce(view, "logits = model(tokens)")
    compile(code, "export", "exec")
    assert repr(view.prompt) in code


def test_the_figure_file_asks_no_other_host():
    page = to_html(go.Figure(go.Scatter(y=[1, 2]))).decode()
    assert "<script src=" not in page
    assert "https://cdn" not in page.split("plotly.js v")[0]


def test_metric_help_says_unit_and_chance():
    text = metric_help("Mean attention.", "probability", null="0.02", source="Olsson et al. 2022")
    assert "**Unit:** probability." in text
    assert "**By chance:** 0.02." in text


def test_a_strip_is_a_figure_file_of_its_own():
    page = to_html("<div>strip</div>").decode()
    assert page.startswith("<!doctype html>")
    assert page.endswith("<div>strip</div>")


def test_the_python_of_an_export_reads_the_prompt_only_if_it_needs_it(view):
    assert "tokens" not in reproduce(view, "print(1)", reads_prompt=False)


def test_the_bos_policy_is_said_in_words(view):
    model = SimpleNamespace(bos=BosPolicy(7, "<s>", True, "it was trained so"))
    assert bos_words(view, model) == "BOS <s> (id 7) stands first by the model's own policy: it was trained so."
    view.set(bos="off")
    assert bos_words(view, model).startswith(
        "BOS <s> is left out by your choice: the model's own policy is to put it first"
    )
    model = SimpleNamespace(bos=NO_BOS)
    assert bos_words(view, model) == f"No BOS: {NO_BOS.reason}."


def test_the_heading_of_a_narrow_window_says_what_the_chart_says_and_stands_in_its_room():
    layout = go.Figure(layout=base_layout("a <b> & c", "One line. " * 20, height=100)).to_dict()["layout"]
    drawn = heading_html(layout)
    assert "<b>a &lt;b&gt; &amp; c</b>" in drawn
    assert "<br>" not in drawn
    assert drawn.count("One line.") == 20
    assert f"margin-bottom: -{layout['margin']['t']}px" in drawn
    assert "<b></b>" in heading_html({})


def test_a_figure_that_fills_may_be_drawn_twice_alike():
    def page() -> None:
        import numpy as np
        import streamlit as st

        from lens.figures.grid import grid
        from lens.figures.measure import Measure
        from lens.ui.parts import chart

        place = st.empty()
        for value in (0.0, 0.0, 1.0, 0.0):
            with place.container():
                chart(grid(Measure("score", "what it is", np.full((2, 2), value), "nats")), "so far")

    at = AppTest.from_function(page).run()
    assert not at.exception
    assert len(at.get("plotly_chart")) == 1
