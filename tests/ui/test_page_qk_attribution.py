"""Why it looks there: a trained head, planted ones, a cell of the prompt, odd addresses, its Python."""

import pytest

from lens import HookedTransformer
from lens.analysis.answer.mechanism import Mechanism
from lens.analysis.answer.reasons import cell_reasons, stripe_reasons
from lens.analysis.random_tokens import repeated_tokens
from lens.analysis.verdicts import Verdict
from lens.figures.theme import number
from lens.ui.fields import DEFAULT_PROMPT
from lens.ui.shared.reason_words import left_words
from lens.ui.shared.reasons import Answer
from tests.families.variants import VARIANTS
from tests.helpers import hf_gpt2
from tests.load.models import save
from tests.ui.conftest import app_page, bound, fine, local, printed

HOSTILE = "</script><img src=x onerror=alert(1)> and so on"


@pytest.fixture(scope="module")
def two_layers() -> HookedTransformer:
    return HookedTransformer.from_pretrained("lens-2l")


def page(**query: str):
    return app_page("qk_attribution", **query)


def shares(at, side: str) -> dict[str, float]:
    """Contrast of each write on one side, from the page's table."""
    table = next(frame.value for frame in at.dataframe if "contrast" in frame.value.columns)
    return dict(table[table["read by"] == side][["write", "contrast"]].itertuples(index=False))


def test_the_reference_numbers_of_a_trained_induction_head():
    """As measured independently on 8 sequences: contrast 7.14, keys 0.1 and 0.2, queries 0.3 and 0.1."""
    at = page(layer="1", head="1", seqs="8", more="table").run()
    shown = fine(at)
    assert "the score there is 7.14 above" in shown
    assert "Its keys read head 0.1 4.59; head 0.2 2.24; head 0.0 0.31." in shown
    assert "Its queries read head 0.3 4.41; head 0.1 2.26; embedding 0.22." in shown
    assert "The largest pair: 0.3 read by the query with 0.1 read by the key, 4.43." in shown
    assert "No mechanism is named: 8 sequences; a verdict needs at least 16." in shown
    keys, queries = (shares(at, side) for side in ("keys", "queries"))
    assert (keys["0.1"], keys["0.2"], keys["0.0"]) == pytest.approx((4.59, 2.24, 0.31), abs=0.005)
    assert (queries["0.3"], queries["0.1"]) == pytest.approx((4.41, 2.26), abs=0.005)
    assert sum(keys.values()) == pytest.approx(sum(queries.values()), abs=1e-3)
    left = next(frame.value for frame in at.dataframe if "contrast" in frame.value.columns)
    left = left.set_index(["read by", "write"])["attention if cut"]
    assert left["keys", "0.1"] == pytest.approx(0.059, abs=0.002)
    assert left["queries", "0.3"] == pytest.approx(0.073, abs=0.002)


def test_the_mechanism_is_named_with_what_it_leaves_unexplained_and_the_python_says_the_same(two_layers):
    at = page().run()
    shown = fine(at)
    reasons = stripe_reasons(two_layers, (1, 1), repeated_tokens(two_layers, 25, 16, 0))
    assert "A mixture of both: previous-token heads read by its keys carry 63%" in shown
    assert "duplicate-token heads read by its queries 61%" in shown
    assert "37% is left unexplained, most of it 0.1 by the query with 0.2 by the key (31%)." in shown
    uncut, queries, keys, both = reasons.pair.loss.mean(1).tolist()
    assert f"is {number(uncut)} nats uncut, {number(keys)} with 0.1 cut out of the keys" in shown
    assert "By its weights, it raises the token it looks at." in shown
    out = printed(at.code[0].value)
    assert f"contrast {float(reasons.text.total.mean())}" in out
    assert str([uncut, queries, keys, both]) in out
    assert at.query_params == {"layer": "1", "head": "1"}


@pytest.mark.parametrize("name", ["planted-induction", "planted-decoy"])
def test_a_planted_circuit_is_named_exactly_and_a_decoy_copies_nothing(name):
    shown = fine(page(model=name).run())
    assert (
        "Its keys read head 0.1, a previous-token head, 40.00 (100%). Its queries read embedding 40.00 (100%)" in shown
    )
    assert "Previous-token by K: previous-token heads read by its keys carry 100%" in shown
    assert "0% is left unexplained." in shown
    assert "with 0.1 cut out of its keys alone, 0% [0%, 0%]" in shown
    assert ("as far as its weights say nothing is copied" in shown) is (name == "planted-decoy")


def test_shares_of_more_than_all_are_said_without_a_negative_share():
    over = Mechanism(Verdict("found", ""), "previous", 1.02, 0.1, 1.05, False)
    said = left_words(Answer(None, None, over, None, None, 0))
    assert said == "Nothing of it is left unexplained: all other pairs together take 5% away."


def test_positions_are_not_a_reading_of_the_text():
    shown = fine(page(model="planted-offset").run())
    assert "Positions: the control has the same contrast (62.36 where the text has 62.36)" in shown
    assert "make 100% of it. No token that is read has a part" in shown
    assert "Nothing can be cut" in shown


def test_a_head_that_does_not_look_there_has_nothing_to_explain():
    shown = fine(page(layer="0", head="2").run())
    assert "There is nothing to explain: it does not look there more than chance allows." in shown


def test_a_cell_of_the_prompt_against_random_texts(two_layers):
    at = page(where="cell", layer="1", head="1", query="16", key="7", seed="3").run()
    shown = fine(at)
    tokens = two_layers.to_tokens(DEFAULT_PROMPT)
    reasons = cell_reasons(two_layers, (1, 1), tokens, 16, 7, 3)
    plain, control = (float(one.total.mean()) for one in (reasons.text, reasons.control))
    assert f"the score there is {number(plain)} above the mean of the query&#x27;s other keys" in shown
    assert f"(control {number(control)})" in shown
    assert "n = 1 text of 18 tokens, one cell." in shown
    assert "with only this path changed" in shown.lower()
    assert f"contrast {plain}" in printed(at.code[0].value)
    bound(at.selectbox, "key").select_index(4).run()
    assert at.query_params["key"] == "5"
    assert "gives 5 " in fine(at)


def test_another_pair_is_cut_and_stands_in_the_address():
    at = page(asks="0.1", answers="0.2").run()
    shown = fine(at)
    assert "0.1 out of the queries: attention 30%" in shown
    rows = next(frame.value for frame in at.dataframe if "cut" in frame.value.columns)
    assert list(rows["cut"])[1:] == ["0.1 out of the queries", "0.2 out of the keys", "both, by the same other tokens"]
    assert at.query_params == {"layer": "1", "head": "1", "asks": "0.1", "answers": "0.2"}
    for bad in ({"asks": "7.7", "answers": "0.2"}, {"asks": "<b>", "answers": "x"}):
        assert "names no two writes before this head: showing the largest" in fine(page(**bad).run())
    assert "0.1 out of the queries: attention" in fine(page(where="cell", asks="0.1", answers="0.2").run())


@pytest.mark.parametrize("more", ["pairs", "cuts", "table"])
@pytest.mark.parametrize("where", ["stripe", "cell"])
def test_every_tab_of_a_model_with_mlps(tmp_path, tokenizer, more, where):
    folder = save(hf_gpt2(vocab_size=len(tokenizer), n_positions=90), tmp_path / "gpt2", tokenizer)
    query = {"layer": "2", "head": "1", "n": "8", "seqs": "16", "where": where, "more": more}
    shown = fine(local("qk_attribution", folder, prompt="one two three one two", **query).run())
    assert "lens-line notice" in shown
    assert "Its keys read" in shown


def test_bad_values_become_defaults_with_notes_and_a_hostile_prompt_is_text():
    at = page(where="cell", query="1", key="0", more="w", layer="9", prompt=HOSTILE).run()
    shown = fine(at)
    for sentence in (
        "Layer 9 does not exist",
        "Query 1 sees no key",
        "Key 0 is the first token",
        "More must be one of",
    ):
        assert sentence in shown
    assert "<img" not in shown
    assert "Where must be one of" in fine(page(where="x").run())


def test_empty_states(tmp_path, tokenizer):
    assert "A contrast needs a key beside the first token" in fine(page(where="cell", prompt="a").run())
    at = page(where="cell", prompt=" ").run()
    fine(at)
    assert "The prompt is empty" in at.info[0].value
    folder = save(VARIANTS["qwen3"](), tmp_path / "qwen3")
    shown = fine(local("qk_attribution", folder, where="cell", n="8").run())
    assert "has no tokenizer" in shown


def test_long_work_waits_for_a_click():
    at = page(model="smollm2-135m-instruct", layer="18", head="6").run()
    shown = fine(at)
    assert "What head 18.6 reads is not split and cut yet" in " ".join(one.value for one in at.markdown)
    assert "lens-line notice" not in shown
