"""All heads: the table against the analysis, conditions, what waits, boxes, the Python of its export."""

import numpy as np
import pytest
import torch

from lens import HookedTransformer
from lens.analysis import head_table as analysis
from lens.analysis.instruments.measure import measure
from lens.analysis.instruments.registry import INSTRUMENTS
from lens.analysis.instruments.sample import repeats
from lens.analysis.names import Head
from lens.analysis.random_tokens import repeated_tokens
from lens.analysis.scan import SECOND, scan
from lens.figures.profiles import profiles
from lens.scan import sentences
from lens.ui.fields import common_fields, parse
from lens.ui.limits import limits
from lens.ui.pages.all_heads import LONGEST, words
from lens.ui.pages.all_heads.body import _pin_all
from lens.ui.view import ViewState
from tests.ui.conftest import app_page, fine, html, printed

MODEL = "planted-induction"


def open_page(**query: str):
    return app_page("all_heads", **({"model": MODEL} | query)).run()


def table_of(at):
    return at.dataframe[0].value


@pytest.fixture(scope="module")
def scores():
    model = HookedTransformer.from_pretrained(MODEL)
    with torch.no_grad():
        return measure(model, INSTRUMENTS, [repeats(repeated_tokens(model, 25, 16, 0, True))])


def test_the_table_is_that_of_the_analysis(scores):
    at = open_page()
    assert "2 more instruments wait for a click." in fine(at)
    next(button for button in at.button if button.label.startswith("Compute 2 more")).click().run()
    shown = fine(at)
    table, columns = table_of(at), analysis.columns_of(scores.scores)
    assert set(table.columns) == {"head", "layer", "index", "beyond chance", *columns}
    for name, column in columns.items():
        got = table.set_index(["layer", "index"])[name]
        np.testing.assert_allclose([got[at] for at in np.ndindex(column.value.shape)], column.value.ravel(), atol=1e-5)
    above = sum(column.above.astype(int) for column in columns.values() if column.above is not None)
    assert table.set_index(["layer", "index"])["beyond chance"].to_dict() == dict(np.ndenumerate(above))
    assert table["beyond chance"].is_monotonic_decreasing
    found = analysis.beyond_chance(columns)
    assert f"{found.finding} of {found.tests} tests find a head beyond chance among {above.size}" in shown
    assert f"Head {found.most} is beyond chance in most" in html(at)
    assert "wait for a click" not in shown


def test_a_condition_leaves_the_heads_that_meet_it():
    at = open_page(where="induction > 0.5 and beyond(prefix_matching)")
    shown = fine(at)
    assert table_of(at)["head"].tolist() == ["1.2"]
    assert "1 of 8 heads meets the condition induction &gt; 0.5 and beyond(prefix_matching)." in shown
    assert at.query_params["where"] == "induction > 0.5 and beyond(prefix_matching)"
    assert len(table_of(open_page(where="layer > 7"))) == 0


@pytest.mark.parametrize("where", ["induction >", "nothing > 1", "<img src=x onerror=alert(1)>", "().__class__"])
def test_what_is_no_condition_is_said_and_all_heads_stand(where):
    at = open_page(where=where)
    shown = fine(at)
    assert "Showing all heads" in shown
    assert "<img" not in shown
    assert len(table_of(at)) == 8


def test_axes_that_are_not_measured_become_the_usual_ones_with_a_note():
    at = open_page(across="x", up="y", colour="z")
    assert fine(at).count("is not offered here: showing ") == 3
    assert at.query_params == {"model": MODEL}


def test_colour_and_the_heads_that_are_alike():
    at = open_page(colour="direct_effect", more="alike", layer="1", head="2")
    shown = fine(at)
    table = table_of(at)
    assert table["apart"].is_monotonic_increasing
    assert "1.2" not in table["head"].tolist()
    assert "is most like head 1.2" in shown


def test_a_box_pins_its_heads_as_many_as_can_be():
    fields = common_fields(limits())
    view = ViewState(fields, parse(fields, {})[0])
    _pin_all(view, [(0, 1), (1, 2)])
    assert view["pins"] == (Head(0, 1), Head(1, 2))
    _pin_all(view, [(0, i) for i in range(limits().pins + 3)])
    assert view["pins"] == tuple(Head(0, i) for i in range(limits().pins))


def test_the_python_of_the_export_computes_the_table_again():
    at = open_page(where="induction > 0.5")
    code = at.code[0].value
    said = printed(code).splitlines()
    assert said[-1] == "(array([1]), array([2]))"
    assert said[-2].startswith("Beyond(tests=")


def test_the_notice_counts_tests_and_what_chance_would_find():
    said = words.notice(analysis.Beyond(3, 0, 0.15, None, ()), 8, 4)
    assert said == "None of the 8 heads is beyond chance in any of the 3 tests. 4 more instruments wait for a click."
    assert words.notice(analysis.Beyond(0, 0, 0.0, None, ()), 8, 0).startswith("None of these instruments gives")
    one = words.notice(analysis.Beyond(20, 2, 1.0, Head(1, 2), ("induction", "previous")), 8, 0)
    assert "1.00 would on average if no head did any of it. Head 1.2 is beyond chance in most, 2: " in one


def test_the_address_holds_a_condition_of_the_length_that_is_read():
    assert LONGEST == analysis.LONGEST


def test_profiles_have_a_line_for_each_head_and_a_full_point_where_it_is_beyond_chance():
    place, above = np.array([[0.0, 1.0], [0.5, np.nan]]), np.array([[False, True], [False, False]])
    figure = profiles([(0, 1), (1, 2)], place, place, above, ["A <b>", "B"], title="Two")
    assert [trace.name for trace in figure.data] == ["0.1", "1.2"]
    assert list(figure.data[0].marker.symbol) == ["circle-open", "circle"]
    assert figure.data[0].x[0] == "A &lt;b&gt;"
    with pytest.raises(ValueError, match="heads and instruments"):
        profiles([(0, 1)], place, place, above, ["A", "B"], title="")


def test_a_scan_says_what_the_analysis_finds_with_the_samples_and_files():
    at = open_page(more="scan")
    if not any("heads tried in" in part for part in html(at).split("\n")):
        next(button for button in at.button if button.label.startswith("Compute, about")).click().run()
    shown = fine(at)
    with torch.no_grad():
        result = scan(HookedTransformer.from_pretrained(MODEL), (0, SECOND), budget=150.0)
    summary, *rest = sentences(result, MODEL)
    assert summary in shown
    for line in rest[: len(result.findings)]:
        assert f"<li>Head {line}" in shown
    saved = {button.proto.label for button in at.get("download_button")}
    assert {"Report, HTML", "Report, JSON"} <= saved
