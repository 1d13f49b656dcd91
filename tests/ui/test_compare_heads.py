"""A second model or checkpoint beside the first on the pages of heads and weights, and why a head looks there."""

import math
import re

import numpy as np
import pytest
import torch

from lens import HookedTransformer
from lens.analysis.answer.qk_attribution import layer_shares
from lens.analysis.answer.reasons import stripe_reasons
from lens.analysis.compare import between_layers, by_name
from lens.analysis.composition import composition
from lens.analysis.head_scores import head_scores
from lens.analysis.ov_copying import ov_copying
from lens.analysis.random_tokens import repeated_tokens
from lens.analysis.stats import Estimate
from lens.figures.theme import number
from lens.load.checkpoints import checkpoints
from lens.ui.shared.compare import pairs, words
from lens.ui.shared.compare.draw import sides
from tests.ui.conftest import REAL, app_page, fine, html, printed
from tests.ui.test_compare import CHECKPOINT, HOSTILE, OTHER_PROMPT, QUANTITY, TITLE, notices, programs

PAGES = ("head", "ov_copying", "composition", "qk_attribution")
FEW = {"n": "8", "seqs": "4"}  # repeats, where a page reads them
NAME, _, REVISION = CHECKPOINT.partition("@")


def models() -> list[HookedTransformer]:
    return [HookedTransformer.from_pretrained(NAME), HookedTransformer.from_pretrained(NAME, revision=REVISION)]


def compared(at, start: str) -> list[str]:
    """The notices of the section that begin so."""
    return [text for text in notices(at) if text.startswith(start)]


STARTS = {
    "head": "",
    "ov_copying": "Full OV copying",
    "composition": "K-composition − null",
    "qk_attribution": "Contrast by",
}


@pytest.mark.parametrize("page", PAGES)
def test_a_checkpoint_beside_the_model(page):
    at = app_page(page, with_model=CHECKPOINT, **FEW).run()
    shown = fine(at)
    assert '<h3 class="lens-beside">Beside <b>lens-2l@tokens_000001433600</b></h3>' in shown
    assert words.TWO_TIMES in shown
    assert words.SAME_RUN_ONLY not in shown
    assert " no counterpart" not in shown
    assert len(programs(at)) == (2 if page == "qk_attribution" else 1)


@pytest.mark.parametrize("page", PAGES)
def test_heads_of_a_model_of_another_shape_have_no_counterpart(page):
    at = app_page(page, with_model="lens-3l", **FEW).run()
    shown = fine(at)
    assert words.TWO_MODELS in shown
    assert "no counterpart" in shown
    start = {"head": "Largest of a layer"}.get(page, STARTS[page])
    for text in compared(at, start):
        assert " at head " not in text
        assert "→" not in text


@pytest.mark.parametrize("page", PAGES)
def test_the_last_checkpoint_is_the_model_itself(page):
    last = checkpoints(NAME).places[-1]
    at = app_page(page, with_model=f"{NAME}@{last}", **FEW).run()
    assert TITLE in fine(at)
    for code in programs(at):
        lines = printed(code).splitlines()
        assert lines == ["None"] or all(line.endswith(" 0.0") for line in lines)


@pytest.mark.parametrize("page", PAGES)
def test_swapped_sides_change_the_sign_alone(page):
    there = app_page(page, with_model=CHECKPOINT, **FEW).run()
    back = app_page(page, model=NAME, revision=REVISION, with_model=NAME, **FEW, **_same_head(page)).run()
    for one, other in zip(*(map(numbers_of, programs(at)) for at in (there, back))):
        np.testing.assert_allclose([one[1], one[0], -one[2]], other, atol=1e-6)


def _same_head(page: str) -> dict[str, str]:
    """The strongest head of a checkpoint is another one: ask for that of the model."""
    return {"layer": "1", "head": "1"} if page in ("head", "qk_attribution") else {}


def numbers_of(code: str) -> np.ndarray:
    """First, second, difference: of what differs most, or of every number of a list."""
    lines = printed(code).strip().splitlines()
    return np.array([[float(x) for x in line.split()[-3:]] for line in lines]).T


@pytest.mark.parametrize(
    ("page", "query"),
    [
        ("ov_copying", {"with_model": CHECKPOINT, "circuit": "residual", "weights": "raw"}),
        ("ov_copying", {"with_model": "lens-3l"}),
        ("composition", {"with_model": CHECKPOINT, "shown": "z", "mode": "V"}),
        ("composition", {"with_model": REAL, "shown": "score"}),
        ("qk_attribution", {"with_model": CHECKPOINT}),
        ("qk_attribution", {"with_model": "lens-3l"}),
        ("qk_attribution", {"with_prompt": OTHER_PROMPT, "where": "cell"}),
        ("head", {"with_model": "lens-3l"}),
    ],
)
def test_the_exported_python_gives_the_numbers_of_the_sentence(page, query):
    at = app_page(page, **query, **FEW).run()
    fine(at)
    said = [text for text in notices(at) if "differs most at" in text]
    assert len(said) == len(programs(at)) > 0
    for code, sentence in zip(programs(at), said):
        first, second, difference = numbers_of(code).ravel()
        assert f": {number(first)} in " in sentence
        assert f", {number(second)} in " in sentence
        assert number(difference) in sentence


def test_the_list_of_one_head_has_the_numbers_of_both_with_all_three_intervals():
    at = app_page("head", with_model=CHECKPOINT, layer="1", head="1").run()
    fine(at)
    table = at.dataframe[-1].value.set_index("instrument")
    scores = [head_scores(m, repeated_tokens(m, n=25, n_seqs=16, seed=0)) for m in models()]
    for column, side in zip(table.columns[:2], scores):
        mean = side["induction"].score
        written = (
            f"{number(float(mean.mean[1, 1]))} [{number(float(mean.low[1, 1]))}, {number(float(mean.high[1, 1]))}]"
        )
        assert table.loc["Induction", column] == written
    first, second = (side["induction"].per_sequence[:, 1, 1] for side in scores)
    change, low, high = map(float, re.findall(r"[\d.]+", table.loc["Induction", "Difference: second − first"]))
    assert change == pytest.approx(float((first - second).mean()), abs=0.005)
    assert high < change < low  # written with minus signs
    assert "[" not in table.loc["Strongest feeder by K", "Difference: second − first"]
    (said,) = (text for text in notices(at) if "numbers are compared" in text)
    assert re.match(r"\d+ numbers are compared\. The interval of the difference leaves out 0 for \d+ of 15", said)
    (code,) = programs(at)
    names = [line.rsplit(maxsplit=3)[0] for line in printed(code).splitlines()]
    assert names == table.index.tolist()
    for place, row in enumerate(numbers_of(code).T):
        assert table.iloc[place, 0].startswith(number(row[0]))


@pytest.mark.parametrize("page", PAGES)
def test_models_of_one_shape_that_were_trained_apart_share_no_heads(page):
    at = app_page(page, with_model="planted-induction", layer="1", head="1", n="8").run()
    assert words.SAME_RUN_ONLY in fine(at)
    assert programs(at)
    assert all(map(printed, programs(at)))


def test_copying_scores_are_those_of_both_models():
    (said,) = compared(app_page("ov_copying", with_model=CHECKPOINT).run(), STARTS["ov_copying"])
    first, second = (ov_copying(model).full.score.numpy() for model in models())
    place = np.unravel_index(abs(second - first).argmax(), first.shape)
    assert f"at head {place[0]}.{place[1]}: {number(first[place])} in lens-2l, {number(second[place])} in" in said


def test_composition_between_layers_is_the_largest_of_their_pairs():
    at = app_page("composition", with_model="lens-3l", shown="score").run()
    (said,) = (text for text in notices(at) if text.startswith("K-composition differs most"))
    both = map(HookedTransformer.from_pretrained, ("lens-2l", "lens-3l"))
    first, second = (composition(model, "K").scores.numpy() for model in both)
    mine = first[0, :, 1].max()  # layer 0 stands beside layers 0 and 1 of the deeper model, layer 1 beside layer 2
    theirs = max((second[0, :, 2].max(), second[1, :, 2].max()), key=lambda of: abs(of - mine))
    assert f": {number(mine)} in lens-2l, {number(theirs)} in lens-3l" in said


def test_composition_of_a_model_that_has_none_says_why():
    at = app_page("composition", with_model="lens-1l").run()
    assert "Not computed because lens-1l has one layer" in fine(at)
    at = app_page("composition", with_model="planted-induction", shown="z").run()
    fine(at)


def test_another_prompt_is_asked_about_at_the_same_text_or_not_at_all():
    at = app_page("qk_attribution", where="cell", with_prompt=OTHER_PROMPT).run()
    assert "The contrast, less that of its control, is 5.03 [" in fine(at)
    assert "in the second prompt" in compared(at, STARTS["qk_attribution"])[0]
    at = app_page("qk_attribution", where="cell", with_prompt="Nothing alike").run()
    assert "query and key of the cell are not both in the second text" in fine(at)
    at = app_page("qk_attribution", with_prompt=OTHER_PROMPT).run()
    assert words.NOT_READ in fine(at)


def test_hostile_prompts_are_shown_as_text():
    at = app_page("qk_attribution", where="cell", prompt=f"a b c {HOSTILE}", with_prompt=f"a b d {HOSTILE}").run()
    shown = fine(at)
    assert "<img" not in shown
    assert "&lt;img src=x" in shown
    for chart in at.get("plotly_chart"):
        assert "<img" not in chart.proto.spec


@pytest.mark.parametrize("page", PAGES)
def test_a_bad_second_model_leaves_the_page_whole(page):
    at = app_page(page, with_model="</h3><img src=x>", **FEW).run()
    shown = fine(at)
    assert TITLE not in shown
    assert "<img" not in shown
    at = app_page(page, with_model="lens-2l@checkpoints/tokens_000000000007.safetensors", **FEW).run()
    assert not at.exception
    assert "lens-2l has no checkpoint" in at.error[0].value
    assert 'class="lens-line notice"' in html(at)


def test_shares_by_layer_sum_to_those_of_all_writes():
    model = HookedTransformer.from_pretrained("lens-3l")
    text = stripe_reasons(model, (2, 1), repeated_tokens(model, n=6, n_seqs=2)).text
    for side, values in (("q", text.query_side), ("k", text.key_side)):
        shares = layer_shares(text, side)
        assert list(shares) == ["biases", "embedding", "layer 0", "layer 1"]
        assert sum(shares.values()) == pytest.approx(float(values.mean(0).sum()), abs=1e-4)


# --- pairs


def test_edges_of_one_shape_are_pairs_of_heads_and_of_others_their_largest():
    first = np.full((2, 2, 2, 2), np.nan)
    first[0, :, 1, :] = [[1, 2], [3, 4]]
    pair = pairs.edges(QUANTITY(), first, first + 1)
    assert pair.frame().to_dict("list")["first"] == [1, 2, 3, 4]
    assert pair.name((0, 1, 1, 0)) == "0.1 → 1.0"
    assert words.notice(pair, ("a", "b")).endswith(
        "The mean size of the difference over 4 pairs of heads is 1.00 nats."
    )
    second = np.full((1, 2, 1, 2), np.nan)
    assert pairs.edges(QUANTITY(), first, second).numbers.first.tolist()[0][0] != 4
    np.testing.assert_array_equal(between_layers(first), [[np.nan, 4], [np.nan, np.nan]])


def test_of_many_parts_the_largest_are_drawn_in_their_order_and_the_others_counted():
    first = {str(at): float(at) for at in range(6)}
    second = {str(at): -10.0 * (at == 1) for at in range(7)}
    pair = pairs.names(QUANTITY(), first, second, most=3)
    assert pair.axes[0].labels == ["1", "4", "5"]
    assert words.left_out(pair, ("a", "b")) == (
        "1 of 7 parts of b has no counterpart and is left out. The largest 3 parts that both have are compared, 3 are "
        "not."
    )
    swapped = pairs.names(QUANTITY(), second, first, most=3)
    assert swapped.axes[0].labels == ["1", "4", "5"]
    assert (swapped.numbers.difference == -pair.numbers.difference).all()
    every = by_name(list(first), list(second))
    assert every.largest(list(first.values()), list(second.values()), 3).first.tolist() == [1, 4, 5]


def test_intervals_of_named_parts_go_with_the_parts_that_are_drawn():
    numbers = {str(at): float(at) for at in range(4)}
    ends = [torch.tensor([0.0, 1, 2, 3]) + by for by in (0, -1, 1)]
    estimate = Estimate(*ends, 16, "an interval")
    pair = pairs.names(QUANTITY(), dict.fromkeys(numbers, 0.0), numbers, estimate=estimate, most=2)
    assert pair.frame()["low"].tolist() == [1, 2]
    assert words.verdict(pair) == "The interval of the difference leaves out 0 for 2 of 2 parts."


def test_numbers_of_a_list_keep_their_units_and_intervals():
    first = {"A": pairs.Number(1.0, "nats", "[0.9, 1.1]"), "B": pairs.Number(30.0, "tokens")}
    second = {"A": pairs.Number(2.0, "nats", "[1.9, 2.1]"), "B": pairs.Number(20.0, "tokens")}
    nan = math.nan
    estimate = Estimate(*map(torch.tensor, ([1.0, nan], [0.8, nan], [1.2, nan])), 16, "an interval")
    pair = pairs.listed(QUANTITY(), first, second, estimate=estimate, by_number=True)
    assert pair.units == ("nats", "tokens")
    assert pair.frame().columns.tolist() == ["loss", "unit", "first", "second", "difference", "low", "high"]
    assert words.notice(pair, ("a", "b")) == (
        "2 numbers are compared. The interval of the difference leaves out 0 for 1 of 1 numbers that have one. Surest "
        "(a | b): A 1.00 | 2.00."
    )
    bare = pairs.listed(QUANTITY(), first, second)
    assert words.notice(bare, ("a", "b")) == (
        "2 numbers are compared; none of their differences has an interval. a | b: A 1.00 | 2.00; B 30.00 | 20.00."
    )
    assert len(sides(bare, ("a", "b"))) == 3
