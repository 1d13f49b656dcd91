"""Attention knockout: identities on every family, a naive run beside it, and the planted induction head."""

import pytest
import torch

from lens import HookedTransformer
from lens.analysis.answer.knockout import DRAWS, RESTS, PatternCell, control_cuts, cut_streams, knockout
from lens.analysis.names import Head
from lens.analysis.random_tokens import repeated_tokens
from lens.finite import NotFinite
from lens.planted.layout import COPY, INDUCTION
from tests.families.conftest import lens_of
from tests.families.variants import VARIANTS

TOKENS = torch.randint(0, 110, (1, 13), generator=torch.Generator().manual_seed(6))
CELLS = [(8, 6), (12, 10), (12, 11)]


def entering(model, layer):
    _, cache = model.run_with_cache(TOKENS, names_filter=f"blocks.{layer}.hook_resid_pre")
    return cache["resid_pre", layer]


def logits_of(model, stream):
    return model(stream[None], start_at_layer=model.cfg.n_layers)


@pytest.mark.parametrize("rest", RESTS)
@pytest.mark.parametrize("variant", VARIANTS)
def test_cutting_nothing_changes_nothing(variant, rest):
    model = lens_of(variant)
    (stream,) = cut_streams(model, Head(1, 0), entering(model, 1), [()], rest)
    torch.testing.assert_close(logits_of(model, stream), model(TOKENS), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("variant", VARIANTS)
def test_cutting_all_keys_but_one_is_a_one_hot_row(variant):
    model = lens_of(variant)
    _, cache = model.run_with_cache(TOKENS)
    seen = (cache["attn_scores", 1][0, 0, 9] > -torch.inf).nonzero()[:, 0].tolist()
    cut = tuple(PatternCell(9, key) for key in seen if key != 8)

    def one_hot(pattern, hook):
        pattern[0, 0, 9] = torch.nn.functional.one_hot(torch.tensor(8), 13)

    (stream,) = cut_streams(model, Head(1, 0), entering(model, 1), [cut], "renormalised")
    naive = model.run_with_hooks(TOKENS, fwd_hooks=[("blocks.1.attn.hook_pattern", one_hot)])
    torch.testing.assert_close(logits_of(model, stream), naive, atol=1e-5, rtol=1e-5)


def naive_logits(model, head, cells, rest):
    """One whole forward pass in which the row is made by hand."""

    def edit(pattern, hook):
        for query, key in cells:
            pattern[0, head[1], query, key] = 0
        if rest == "renormalised":
            for query in {query for query, _ in cells}:
                pattern[0, head[1], query] /= pattern[0, head[1], query].sum()

    return model.run_with_hooks(TOKENS, fwd_hooks=[(f"blocks.{head[0]}.attn.hook_pattern", edit)])


@pytest.mark.parametrize("rest", RESTS)
@pytest.mark.parametrize("variant", VARIANTS)
def test_every_run_equals_one_written_by_hand(variant, rest):
    model, head = lens_of(variant), (1, 1)
    of = knockout(model, head, TOKENS, CELLS, rest, seed=3, draws=4)
    assert of.places == (8, 12)
    assert of.following.tolist() == [int(TOKENS[0, 9]), -1]
    uncut = model(TOKENS)[0].log_softmax(-1)
    for run, cells in enumerate(of.runs):
        logits = naive_logits(model, head, cells, rest)[0]
        logprob = logits.log_softmax(-1)
        at = list(of.places)
        torch.testing.assert_close(of.logit[run], logits[at].gather(-1, of.tokens), atol=2e-5, rtol=1e-4)
        torch.testing.assert_close(of.logprob[run], logprob[at].gather(-1, of.tokens), atol=2e-5, rtol=1e-4)
        kl = (uncut.exp() * (uncut - logprob)).sum(-1)[at]
        torch.testing.assert_close(of.kl[run], kl, atol=1e-5, rtol=1e-3)
        loss = -logprob[:-1].gather(-1, TOKENS[0, 1:, None])[:, 0]
        torch.testing.assert_close(of.loss[run], loss, atol=2e-5, rtol=1e-4)
    assert float(of.kl[1].max()) > 1e-6
    assert not of.changed[:, :8].any()  # what comes before the first query is not touched


def test_the_following_token_stands_among_the_likeliest():
    of = knockout(lens_of("gpt2"), (0, 1), TOKENS, [(5, 2)])
    assert int(TOKENS[0, 6]) in of.tokens[0].tolist()
    assert of.tokens.shape == (2, 8)


def test_controls_are_as_many_other_cells_of_the_same_queries():
    allowed = torch.ones(13, 13).tril().bool()
    cut = tuple(PatternCell(*cell) for cell in CELLS)
    controls = control_cuts(allowed, cut, DRAWS, seed=0)
    assert controls == control_cuts(allowed, cut, DRAWS, seed=0) != control_cuts(allowed, cut, DRAWS, seed=1)
    assert 1 < len(controls) <= DRAWS == len(controls)
    for cells in controls:
        assert [cell.query for cell in cells] == [8, 12, 12]
        assert len(set(cells)) == 3
        assert not set(cells) & set(cut)
        assert all(allowed[cell] for cell in cells)


def test_a_query_that_sees_little_has_few_controls_or_none():
    allowed = torch.ones(13, 13).tril().bool()
    assert control_cuts(allowed, (PatternCell(1, 1),), DRAWS, 0) == ((PatternCell(1, 0),),)
    assert control_cuts(allowed, (PatternCell(0, 0),), DRAWS, 0) == ()
    of = knockout(lens_of("gpt2"), (0, 0), TOKENS, [(0, 0)], "lost")
    assert len(of.runs) == 2


@pytest.mark.parametrize(("cells", "rest", "says"), [
    ([], "lost", "no cell is named"),
    ([(3, 7)], "lost", "query 3 does not see key 7"),
    ([(13, 1)], "lost", "no cell 13-1 in a text of 13 tokens"),
    ([(1, 0), (1, 1)], "renormalised", "query 1 would have no key left"),
    ([(1, 0)], "both", "must be one of renormalised, lost"),
])  # fmt: skip
def test_what_cannot_be_cut_is_said(cells, rest, says):
    with pytest.raises(ValueError, match=says):
        knockout(lens_of("gpt2"), (0, 0), TOKENS, cells, rest)


def test_weights_that_are_not_finite_are_named():
    model = lens_of("gpt2").__class__.from_state(lens_of("gpt2").cfg, dict(lens_of("gpt2").state_dict()))
    weight = model.blocks[2].attn.W_O
    model.blocks[2].attn.W_O = torch.nn.Parameter(weight.detach().clone().fill_(torch.nan))
    with pytest.raises(NotFinite, match="layer 2"):
        knockout(model, (0, 0), TOKENS, [(5, 2)])


@pytest.mark.parametrize("rest", RESTS)
def test_cutting_the_stripe_of_the_planted_induction_head_takes_the_answer_away(rest):
    """The head looks at one key, and writes its token: without it the logit falls to that of any other token."""
    model = HookedTransformer.from_pretrained("planted-induction")
    tokens = repeated_tokens(model, n=8, n_seqs=1, seed=0).tokens
    query, key = 12, 12 - 8 + 1
    of = knockout(model, INDUCTION, tokens, [(query, key)], rest)
    place, right = of.places.index(query), int(tokens[0, key])
    assert right == int(of.following[place])
    logit = of.logit[:, place, of.tokens[place].tolist().index(right)]
    assert float(of.removed[1]) == pytest.approx(1, abs=1e-6)
    assert float(logit[0]) == pytest.approx(COPY, abs=1e-3)
    assert float(logit[1]) == pytest.approx(0, abs=1e-3)
    assert len(of.runs) > 8
    torch.testing.assert_close(logit[2:], logit[:1].expand(len(of.runs) - 2), atol=1e-4, rtol=0)
    assert float(of.removed[2:].max()) < 1e-6
    assert float(of.kl[2:].max()) < 1e-6
    assert float(of.changed[1, query]) == pytest.approx(float(of.changed[1].abs().max()))  # no later loss moves
    assert float(of.changed[2:].abs().max()) < 1e-5
