"""What a head would do to the words of a set: against full circuits, on planted heads, and on one that steps ahead."""

import pytest
import torch

from lens import HookedTransformer
from lens.analysis.instruments.instrument import FOUND
from lens.analysis.instruments.measure import measure
from lens.analysis.instruments.registry import instrument, instruments_named
from lens.analysis.instruments.sample import WEIGHTS
from lens.analysis.set_shares import ROTATIONS, own_hits, shares_score, successor_hits
from lens.analysis.word_sets import OrdinalSet, ordinal_sets, single_names
from lens.planted.layout import INDUCTION, OUT
from tests.analysis import dense
from tests.analysis.shaken import GROUPED, make_model

NEW = ("name_copying", "name_copying_negative", "successor", "copy_suppression")
SHAPES = [{}, GROUPED, {"positions": "rotary", "post_norm": True}, {"d_mlp": 0, "norm": None}]


@pytest.mark.parametrize("lowered", [False, True])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@torch.no_grad()
def test_hits_are_those_of_the_full_circuit(shape, lowered):
    model, ids = make_model(**shape), [3, 17, 20, 41]
    found = own_hits(model, ids, 5, lowered)
    embedding = "tokens" if model.cfg.attn_only else "first_mlp"
    for layer, head in ((0, 1), (2, 3)):
        whole = dense.full_ov(model, layer, head, embedding)[ids]
        own = whole[range(4), ids, None]
        rank = ((whole < own) if lowered else (whole > own)).sum(1)
        assert found.hits[:, layer, head].tolist() == (rank < 5).tolist()
    assert found.null.shape == (ROTATIONS, model.cfg.n_layers, model.cfg.n_heads)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@torch.no_grad()
def test_successors_are_those_of_the_full_circuit(shape):
    model = make_model(**shape)
    sets = (OrdinalSet("a", (3, 17, 20, 41), ((0, 1), (1, 2), (2, 3))), OrdinalSet("b", (5, 6), ((0, 1),)))
    found = successor_hits(model, sets)
    embedding = "tokens" if model.cfg.attn_only else "first_mlp"
    for layer, head in ((0, 1), (2, 3)):
        whole, want = dense.full_ov(model, layer, head, embedding), []
        for one in sets:
            rows = whole[list(one.ids)][:, list(one.ids)]
            want += [int(rows[first].argmax()) == then for first, then in one.pairs]
        assert found.hits[:, layer, head].tolist() == want
    assert found.null.shape[0] == 2 * ROTATIONS
    assert found.chance == pytest.approx((3 / 4 + 1 / 2) / 4)


def test_planted_heads_copy_the_words_of_a_set_or_go_against_them():
    ids, kind = list(range(10, 40)), instrument("name_copying").kind()
    for name, lowered in (("planted-induction", False), ("planted-anticopy", True)):
        model = HookedTransformer.from_pretrained(name)
        score = shares_score(kind, own_hits(model, ids, 5, lowered), "names")
        assert score.score.mean[INDUCTION] == 1
        assert score.above.nonzero().tolist() == [list(INDUCTION)]
        other = shares_score(kind, own_hits(model, ids, 5, not lowered), "names")
        assert not other.above.any()
    few = shares_score(kind, own_hits(model, ids[:8], 5), "names")
    assert few.above is None
    assert "8 names" in few.no_verdict


@torch.no_grad()
def test_a_head_that_writes_the_next_word_is_found():
    model = HookedTransformer.from_pretrained("planted-induction")
    assert not instrument("successor").measure(model, WEIGHTS).above.any()
    W_O = model.blocks[INDUCTION[0]].attn.W_O
    kept = W_O[INDUCTION[1], :, OUT].clone()
    W_O[INDUCTION[1], :, OUT] = kept.roll(1, -1)  # ids of letters and of digits follow each other
    try:
        score = instrument("successor").measure(model, WEIGHTS)
    finally:
        W_O[INDUCTION[1], :, OUT] = kept
    assert score.score.mean[INDUCTION] == 1
    assert score.above.nonzero().tolist() == [list(INDUCTION)]
    assert "9 digits, 25 letters" in score.kind.definition


def test_sets_hold_single_tokens_in_their_order():
    model = HookedTransformer.from_pretrained("planted-induction")
    sets = {one.name: one for one in ordinal_sets(model)}
    assert set(sets) == {"digits", "letters"}
    assert model.to_string(list(sets["letters"].ids)) == "abcdefghijklmnopqrstuvwxyz"
    assert sets["digits"].pairs == tuple((at, at + 1) for at in range(9))
    assert single_names(model) == ()
    trained = HookedTransformer.from_pretrained("lens-2l")
    assert all(trained.to_string([at]).strip().isalpha() for at in single_names(trained))


def test_what_a_tokenizer_lacks_is_said():
    planted = measure(HookedTransformer.from_pretrained("planted-random"), instruments_named(NEW), [])
    assert set(planted.scores) == {"successor"}
    assert "0 common names are single tokens" in planted.missing["name_copying"]
    assert "a vocabulary of 100 tokens" in planted.missing["copy_suppression"]
    bare = measure(make_model(), instruments_named(NEW), [])
    assert "0 words of an order" in bare.missing["successor"]
    assert "not computed because" in bare.missing["name_copying_negative"]


def test_a_real_tokenizer_has_names_and_orders():
    found = measure(HookedTransformer.from_pretrained("lens-2l"), instruments_named(NEW), [])
    assert not found.missing
    assert found["name_copying"].score.n >= 16
    assert "Here: 20 names." in found["name_copying"].kind.definition
    assert all(found[name].above is not None for name in NEW)
    assert instrument("successor").expected["planted-induction"].verdict != FOUND
