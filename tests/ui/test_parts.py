"""Pieces that pages share: clicks, exports."""

import json
import math

import numpy as np
import plotly.graph_objects as go
import pytest

from lens.ui.export import reproduce, to_html, to_json
from lens.ui.fields import common_fields, parse
from lens.ui.limits import AT_HOME
from lens.ui.parts import metric_help, pin_from_event
from lens.ui.view import ViewState


@pytest.fixture
def view() -> ViewState:
    fields = common_fields(AT_HOME)
    return ViewState(fields, parse(fields, {"prompt": 'say "hi"\n</script>'})[0], {})


def event(*points):
    return {"selection": {"points": [{"customdata": point} for point in points]}}


def test_a_click_pins_the_head_and_makes_it_current(view):
    assert pin_from_event(event({"0": 3, "1": 5}), view) == (3, 5)
    assert (view.layer, view.head, view.pins) == (3, 5, ((3, 5),))
    pin_from_event(event({"0": 1, "1": 2}), view)
    assert view.pins == ((3, 5), (1, 2))
    pin_from_event(event({"0": 3, "1": 5}), view)
    assert view.pins == ((1, 2), (3, 5))


def test_an_empty_selection_changes_nothing(view):
    assert pin_from_event(event(), view) is None
    assert view.pins == ()


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
