"""The Attention page's single cells: cutting them, computing one by hand; bad input, limits, exports."""

import re
from functools import partial

import numpy as np
import pytest
import torch

from lens import HookedTransformer
from lens.analysis.answer.knockout import beside, knockout, knockout_of
from lens.analysis.names import Head, HeadCell, PatternCell
from lens.figures.cells import Marks, crossed
from lens.figures.matrix import matrix
from lens.ui.fields import BadValue, common_fields, parse
from lens.ui.limits import AT_HOME, limits
from lens.ui.pages.attention import MOST_CUT, PAGE, cell_list
from lens.ui.pages.attention import cut as section
from lens.ui.pages.attention.cells import click
from lens.ui.view import ViewState
from tests.ui.conftest import app_page, bound, fine, local, markdown, printed

TEXT = "red apple green pear red apple green pear"
open_page = partial(app_page, "attention", model="lens-2l", prompt=TEXT, layer="1", head="1")
STRIPE = "16-8"  # from the second " pe" of " pear" to "ar"


def codes(at) -> list[str]:
    return [element.value for element in at.code]


def frame(at, column: str):
    """The table with this column."""
    (found,) = (element.value for element in at.dataframe if column in element.value)
    return found


def test_the_sections_cost_nothing_while_they_are_closed():
    at = open_page(cut=STRIPE).run()
    shown = fine(at)
    assert "change of loss" not in shown
    assert "By hand, " not in shown
    assert not at.dataframe


def test_a_cut_cell_shows_the_analysis_own_numbers():
    at = open_page(cut=STRIPE, cutting="on").run()
    shown = fine(at)
    model = HookedTransformer.from_pretrained("lens-2l")
    tokens = model.to_tokens(TEXT)
    of = knockout(model, (1, 1), tokens, [(16, 8)])
    rows = frame(at, "uncut")
    np.testing.assert_allclose(sorted(rows["uncut"]), sorted(of.logprob[0, 0].exp().tolist()), atol=1e-6)
    np.testing.assert_allclose(sorted(rows["cut"]), sorted(of.logprob[1, 0].exp().tolist()), atol=1e-6)
    (following,) = rows[rows["is"] == "next"].itertuples()
    assert following.token == "ar"
    assert following.cut < following.uncut / 2
    assert f"takes {float(of.removed[1]):.2f} of attention from head 1.1" in shown
    assert f"{len(of.runs) - 2} different draws of 1 other cell of the same queries" in shown
    assert "each less)" in shown
    assert "reaches only the prediction at its own query" in shown
    assert "A cell that was picked because it stands out carries no test" in shown
    assert "change of loss (nats)" in shown
    assert at.query_params["cut"] == STRIPE


def test_the_other_keys_take_over_or_do_not():
    at = open_page(cut=STRIPE, cutting="on").run()
    assert "score −∞ before the softmax" in fine(at)
    before = frame(at, "uncut")
    at.segmented_control(key="view:rest").set_value("lost").run()
    assert "attention 0 after the softmax" in fine(at)
    assert at.query_params["rest"] == "lost"
    assert not np.allclose(before["cut"], frame(at, "uncut")["cut"])


def test_cells_are_written_and_taken_back_by_keyboard():
    at = open_page(cutting="on").run()
    assert "No cell is cut" in at.info[0].value
    bound(at.text_input, "cut").set_value("16-8, 16>0").run()
    fine(at)
    assert at.query_params["cut"] == "16-8,16-0"
    bound(at.text_input, "cut").set_value("rubbish, 15-7").run()
    assert "left out &#x27;rubbish&#x27;" in fine(at)
    assert at.query_params["cut"] == "15-7"
    at.button(key="attention:cut-strongest").click().run()
    fine(at)
    assert at.query_params["cut"] == f"15-7,{STRIPE}"
    at.button(key="attention:cut-nothing").click().run()
    fine(at)
    assert "cut" not in at.query_params


def test_cells_that_the_head_does_not_see_are_left_out_and_said():
    at = open_page(cut="16-8,40-2,3-7,x", cutting="on", place="5", rest="both").run()
    shown = fine(at)
    assert "Head 1.1 does not see 40-2, 3-7 (its keys are the token itself and those before, of 18 tokens)" in shown
    assert "Cells are written query-key, like 6-2,7-3; left out &#x27;x&#x27;" in shown
    assert "Place 5 is no query of a cut cell and not the last: showing 16" in shown
    assert "Rest must be one of renormalised, lost" in shown
    assert at.query_params["cut"] == STRIPE
    assert "place" not in at.query_params


ACROSS = "16-8,0.1:16-7,0.3:12-4"


def test_cells_of_several_heads_are_cut_at_once():
    at = open_page(cut=ACROSS, cutting="on").run()
    shown = fine(at)
    assert at.query_params["cut"] == ACROSS
    model = HookedTransformer.from_pretrained("lens-2l")
    cells = [HeadCell(Head(1, 1), 16, 8), HeadCell(Head(0, 1), 16, 7), HeadCell(Head(0, 3), 12, 4)]
    of = knockout_of(model, cells, model.to_tokens(TEXT))
    rows = frame(at, "uncut")
    place = of.most_moved
    np.testing.assert_allclose(sorted(rows["cut"]), sorted(of.logprob[1, place].exp().tolist()), atol=1e-6)
    assert "in 1.1" in shown
    assert f"takes {float(of.removed[1]):.2f} of attention from heads 0.1, 0.3 and 1.1." in shown
    assert "reaches only the prediction at its own query" not in shown
    (program,) = (code for code in codes(at) if "knockout_of(" in code)
    out = printed(program)
    assert f"{of.removed[1]} {of.removed[2:].mean()}" in out
    assert f"{beside(of.changed.mean(1).numpy())}" in out


def test_cells_go_along_with_the_head_until_they_are_kept():
    at = open_page(cut="16-8", cutting="on").run()
    fine(at)
    at.button(key="attention:cut-keep").click().run()
    assert "from head 1.1" in fine(at)
    assert at.query_params["cut"] == "1.1:16-8"
    at.number_input(key="view:head").set_value(2).run()
    assert "from head 1.1" in fine(at)
    at.button(key="attention:cut-strongest").click().run()
    assert "from heads 1.1 and 1.2" in fine(at)


def test_heads_that_do_not_exist_are_left_out_and_said():
    at = open_page(cut="9.9:16-8,0.99:16-8,0.1:3-7,16-8,1.1.1:2-1", cutting="on").run()
    shown = fine(at)
    for head in ("9.9", "0.99"):
        assert f"This model has no head {head} (cells 16-8): left out" in shown
    assert "Head 0.1 does not see 3-7" in shown
    assert "left out &#x27;1.1.1:2-1&#x27;" in shown
    assert at.query_params["cut"] == STRIPE


def test_a_query_without_any_key_left_is_refused_with_a_way_on():
    at = open_page(cut="0-0", cutting="on").run()
    assert "query 0 would have no key left to share its attention" in fine(at)
    at.segmented_control(key="view:rest").set_value("lost").run()
    assert "These queries see no other key, so there is none" in fine(at)


def test_hosted_visitors_cut_fewer_cells(monkeypatch):
    monkeypatch.setenv("LENS_HOSTED", "1")
    most = limits().cut_cells
    at = open_page(cut=",".join(f"17-{key}" for key in range(most + 1)), cutting="on").run()
    assert f"At most {most} cells are cut at once: the first {most} of {most + 1} are" in fine(at)


def test_a_long_text_is_cut_too(tiny_folder):
    prompt = "some words to read " * 20
    at = local("attention", tiny_folder, prompt=prompt, cut="80-79,60-2", cutting="on", byhand="on", cell="80-79")
    at.run()
    shown = fine(at)
    assert "Cutting 80 " in shown
    assert "By hand, 80 " in shown


def test_random_tokens_that_repeat_are_cut_and_exported():
    at = open_page(reads="repeat", n="8", cut="12-5", cutting="on", byhand="on", cell="12-5").run()
    shown = fine(at)
    assert "By hand, 12 " in shown
    attention = re.search(r"takes ([\d.]+) of attention from head 1.1", shown)[1]
    (cut,) = (code for code in codes(at) if " knockout(" in code)
    (by_hand,) = (code for code in codes(at) if " cell_by_hand(" in code)
    assert f"{float(printed(cut).split()[0]):.2f}" == attention
    assert f"{float(printed(by_hand).split()[-3]):.2f}" == attention


@pytest.mark.parametrize("look", ["text", "maps", "all"])
def test_the_sections_stand_under_every_view(look):
    assert "takes 0.91 of attention from head 1.1" in fine(open_page(cut=STRIPE, cutting="on", look=look).run())


def test_the_prediction_at_another_place():
    at = open_page(cut="12-4,16-8", cutting="on", place="16").run()
    fine(at)
    box = bound(at.selectbox, "place")
    assert [option.split(":")[0] for option in box.options] == ["12", "16", "17"]
    assert box.value.startswith("16: ")
    box.set_value(box.options[-1]).run()
    fine(at)
    assert at.query_params["place"] == "17"
    assert not (frame(at, "uncut")["is"] == "next").any()  # nothing follows


def test_the_planted_induction_head_loses_its_answer_and_a_control_changes_nothing():
    model = HookedTransformer.from_pretrained("planted-induction")
    text = model.to_string(torch.arange(5, 13).repeat(2))
    tokens = model.to_tokens(text)
    n = tokens.shape[1]
    query, key = n - 4, n - 4 - 8 + 1
    layer, head = 1, 0
    pattern = model.run_with_cache(tokens)[1]["pattern", 1][0]
    head = int(pattern[:, query, key].argmax())
    assert float(pattern[head, query, key]) > 0.999
    at = app_page("attention", model="planted-induction", prompt=text, layer=str(layer), head=str(head),
                  cut=f"{query}-{key}", cutting="on").run()  # fmt: skip
    shown = fine(at)
    (following,) = frame(at, "uncut").query("`is` == 'next'").itertuples()
    assert following.uncut > 0.99
    assert following.control == pytest.approx(following.uncut, abs=1e-6)
    assert following.logit == pytest.approx(-10, abs=1e-3)
    assert "takes 1.00 of attention" in shown
    assert re.search(r"controls: 0\.00 \[0\.00, [\d.e-]+\], each less", shown)


@pytest.mark.parametrize("prompt", ["</script><img src=x onerror=alert(1)> $x$ ![a](http://b.example/c)", "x"])
def test_odd_prompts_in_both_sections(prompt):
    at = open_page(prompt=prompt, cutting="on", byhand="on", cut="1-0").run()
    shown = fine(at)
    assert "<img src=x" not in shown
    assert not any("](http" in element.value for element in at.markdown)
    assert "By hand, " in shown


def test_a_cell_by_hand_equals_the_models_number():
    at = open_page(byhand="on").run()
    shown = fine(at)
    model = HookedTransformer.from_pretrained("lens-2l")
    actual = float(model.run_with_cache(model.to_tokens(TEXT))[1]["pattern", 1][0, 1, 16, 8])
    assert f"is {actual:.6f}; the model&#x27;s own number is {actual:.6f}" in shown
    assert float(re.search(r"largest difference in the row is ([\d.e-]+)\.", shown)[1]) < 1e-6
    assert bound(at.text_input, "cell").value == STRIPE  # the strongest, until another is named
    assert "Query and key" in markdown(at)
    vectors, steps, row = frame(at, "product"), frame(at, "step"), frame(at, "by hand")
    np.testing.assert_allclose(vectors["product"][:-1].sum(), vectors["product"].iloc[-1], rtol=1e-5)
    values = dict(zip(steps["step"], steps["value"]))
    assert values["divided by 8"] == pytest.approx(values["q · k"] / 8)
    assert values["attention by hand"] == pytest.approx(actual, abs=1e-5)
    np.testing.assert_allclose(row["by hand"].sum(), 1, atol=1e-5)
    bound(at.text_input, "cell").set_value("17-9").run()
    fine(at)
    assert at.query_params["cell"] == "17-9"
    assert "Its score" in fine(at)
    bound(at.text_input, "cell").set_value("3-9, 4-1").run()
    shown = fine(at)
    assert "Only 1 of the cells is kept" in shown
    assert "does not see 3-9" in shown


def test_a_cell_by_hand_of_a_rotary_model_with_grouped_keys(tiny_folder):
    at = local(
        "attention", tiny_folder, prompt="some words to read", byhand="on", cell="5-2", layer="2", head="3"
    ).run()
    shown = fine(at)
    assert "Positions: q and k are turned by the angles of their positions" in shown
    assert {"q turned", "k turned"} <= set(frame(at, "product").columns)
    assert float(re.search(r"largest difference in the row is ([\d.e-]+)\.", shown)[1]) < 1e-5


@pytest.mark.parametrize("rest", ["renormalised", "lost"])
def test_the_exported_python_gives_the_numbers_of_the_page(rest):
    at = open_page(cut="16-8,12-4", cutting="on", rest=rest, seed="5").run()
    fine(at)
    (program,) = (code for code in codes(at) if "knockout(" in code)
    out = printed(program)
    model = HookedTransformer.from_pretrained("lens-2l")
    of = knockout(model, (1, 1), model.to_tokens(TEXT), [(16, 8), (12, 4)], rest, seed=5)
    assert AT_HOME.cut_cells == MOST_CUT
    assert f"{of.removed[1]} {of.removed[2:].mean()}" in out
    assert f"{beside(of.changed.mean(1).numpy())}" in out


def test_the_exported_python_of_a_cell_by_hand():
    at = open_page(cell=STRIPE, byhand="on").run()
    fine(at)
    (program,) = (code for code in codes(at) if "cell_by_hand(" in code)
    by_hand, actual, difference = map(float, printed(program).splitlines()[-1].split())
    assert by_hand == pytest.approx(actual, abs=1e-6)
    assert difference < 1e-6


def state(**query: str) -> ViewState:
    """A view of the page, without a page."""
    values, _ = parse((*common_fields(AT_HOME), *PAGE.options), query)
    return ViewState((*common_fields(AT_HOME), *PAGE.options), values)


def test_what_a_click_does():
    view = state()
    click(view, 10, (6, 2))
    assert view["query"] == 16
    view = state(clicks="cut")
    for cell in ((6, 2), (7, 2), (6, 2)):
        click(view, 10, cell)
        assert view["cutting"]
    assert view["cut"] == ((17, 12),)
    assert view["query"] is None
    view = state(clicks="hand")
    click(view, 0, (6, 2))
    assert (view["cell"], view["byhand"], view["cut"]) == (((6, 2),), True, ())


def test_cut_cells_are_crossed_out():
    plain = matrix(np.tril(np.ones((3, 3), np.float32)), list("abc"))
    other = crossed(plain, Marks([(2, 1)], "cut below"))
    assert len(other.layout.shapes) == len(plain.layout.shapes) + 1
    assert other.layout.shapes[-1].path.startswith("M0.6,1.6L1.4,2.4")
    assert "cut below" in other.layout.annotations[-1].text


def test_cells_read_what_they_write():
    field = cell_list("cut", 3)
    assert field.read(field.write(((6, 2), (12, 0)))) == ((6, 2), (12, 0))
    assert field.read(" 6-2;7→3 6>2") == ((6, 2), (7, 3))
    assert field.read("") == ()
    with pytest.raises(BadValue, match="left out 'a'") as bad:
        field.read("a,1-1")
    assert bad.value.use == ((1, 1),)
    with pytest.raises(BadValue, match="only 3 of the cells are kept") as bad:
        field.read("1-0,2-0,3-0,4-0")
    assert bad.value.use == ((1, 0), (2, 0), (3, 0))


def test_cells_that_name_their_head_read_what_they_write():
    field = cell_list("cut", 3, heads=True)
    cells = (HeadCell(Head(1, 1), 5, 3), PatternCell(7, 6), HeadCell(Head(0, 2), 7, 6))
    assert field.write(cells) == "1.1:5-3,7-6,0.2:7-6"
    assert field.read(field.write(cells)) == cells
    assert field.read("6-2, 7-3") == ((6, 2), (7, 3))  # as addresses were before
    with pytest.raises(BadValue, match=r"left out '1\.1:6-2'"):
        cell_list("cell", 3).read("1.1:6-2")


def test_a_click_takes_a_kept_cell_of_its_own_head_back():
    view = state(clicks="cut", layer="1", head="1", cut="1.1:6-2,0.1:6-2")
    click(view, 0, (6, 2))
    assert view["cut"] == (HeadCell(Head(0, 1), 6, 2),)
    click(view, 0, (6, 2))
    assert view["cut"] == (HeadCell(Head(0, 1), 6, 2), (6, 2))


def test_a_cut_is_said_beside_its_controls():
    assert section.control_change(beside(np.array([0, 0.5, 0.1, -0.7]))) == (
        " (2 controls: −0.30 [−0.70, 0.10], 1 as much or more)"
    )
    assert section.control_change(beside(np.array([0, 0.5, 0.1]))) == " (1 control: 0.10 [0.10, 0.10], each less)"
    assert section.control_change(beside(np.array([0, 0.5]))) == " (no control)"
    assert str(PatternCell(6, 2)) == "6-2"
